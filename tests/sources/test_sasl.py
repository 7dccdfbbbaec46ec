"""Mechanisms as kafka-python makes them, one a connection: each with the secret of its time."""

import base64

import pytest
from kafka.errors import KafkaConfigurationError
from kafka.net.sasl import get_sasl_mechanism

from detector.sources.sasl import Plain, Scram, TokenProvider


def connection(mechanism, **options):
    """What `KafkaConnection` makes for itself."""
    return get_sasl_mechanism(mechanism)(host="kafka-1.example", sasl_mechanism=mechanism, **options)


def test_plain_sends_the_password_of_now():
    words = iter(["old", "new"])
    options = {"sasl_plain_username": "u", "sasl_plain_password": lambda: next(words)}
    assert connection("PLAIN", **options).auth_bytes() == b"u\0u\0old"
    assert connection("PLAIN", **options).auth_bytes() == b"u\0u\0new"


def test_plain_takes_plain_text_too():
    assert connection("PLAIN", sasl_plain_username="u", sasl_plain_password="p").auth_bytes() == b"u\0u\0p"
    with pytest.raises(KafkaConfigurationError):
        connection("PLAIN")


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_scram_proves_the_password_of_now(mechanism):
    words = iter(["old", "new"])
    options = {"sasl_plain_username": lambda: "u", "sasl_plain_password": lambda: next(words)}
    proofs = set()
    for _ in range(2):
        made = connection(mechanism, **options)
        made._scram_client.nonce = b"fixed"
        assert made.auth_bytes() == b"n,,n=u,r=fixed"
        made.receive(b"r=fixedmore,s=" + base64.b64encode(b"salt") + b",i=4096")
        proofs.add(made.auth_bytes())
    assert len(proofs) == 2


def test_scram_escapes_the_name():
    """RFC 5802, 5.1: ``,`` is ``=2C``, ``=`` is ``=3D``; and both halves of the exchange say the same name."""
    made = connection("SCRAM-SHA-256", sasl_plain_username="a,b=c", sasl_plain_password="p")
    assert made.auth_bytes().startswith(b"n,,n=a=2Cb=3Dc,r=")


def test_a_token_is_read_for_each_connection():
    tokens = iter(["first", "second"])
    provider = TokenProvider(lambda: next(tokens))
    sent = [connection("OAUTHBEARER", sasl_oauth_token_provider=provider).auth_bytes() for _ in range(2)]
    assert sent == [b"n,,\x01auth=Bearer first\x01\x01", b"n,,\x01auth=Bearer second\x01\x01"]


def test_ours_are_in_the_place_of_the_librarys():
    assert get_sasl_mechanism("PLAIN") is Plain
    assert get_sasl_mechanism("SCRAM-SHA-256") is get_sasl_mechanism("SCRAM-SHA-512") is Scram
