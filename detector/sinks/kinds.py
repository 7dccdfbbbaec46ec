"""The sinks, by the names that settings give them. A new one is a module and a case."""

# ruff: noqa: PLC0415 - a sink may need libraries that others do not
from collections.abc import Mapping
from typing import Any, Final

from detector.sinks.delivery import Sink

_TLS: Final = ("ca_file", "cert_file", "key_file")


def sink_of(kind: str, options: Mapping[str, Any], kafka: Mapping[str, Any]) -> Sink:
    """A sink that has not yet spoken to anybody: what is wrong with the other side is told by `Sink.send`.

    Args:
        kind: ``file``, ``console``, ``kafka``, ``syslog``, ``splunk``, ``elastic``, ``sentinel``, ``secops`` or
            ``webhook``.
        options: its own, as its settings have them; secrets are functions.
        kafka: how the service reaches Kafka, as kafka-python takes it.

    Raises:
        ValueError: no such kind.
    """
    match kind:
        case "file":
            from detector.sinks.file import FileSink

            return FileSink(**options)
        case "console":
            from detector.sinks.console import ConsoleSink

            return ConsoleSink(**options)
        case "kafka":
            from detector.sinks.kafka import KafkaSink

            return KafkaSink(**options, connection=kafka)
        case "syslog":
            return _syslog_sink_of(dict(options))
        case "splunk" | "elastic" | "sentinel" | "secops" | "webhook":
            return _web_sink_of(kind, dict(options))
        case _:
            raise ValueError(f"no kind of sink: {kind}")


def _syslog_sink_of(options: dict[str, Any]) -> Sink:
    from detector.sinks.connections import Tls
    from detector.sinks.syslog import SyslogSink

    tls = Tls(*(options.pop(name) for name in (*_TLS, "server_name")))
    return SyslogSink(tls=tls, **options)


def _web_sink_of(kind: str, options: dict[str, Any]) -> Sink:
    from detector.sinks.http import Client
    from detector.sinks.tokens import Token, authorization, client_credentials

    reach = {name: options.pop(name) for name in _TLS} | {"seconds": options.pop("timeout_seconds")}
    client = Client(options.pop("url"), **reach)
    match kind:
        case "splunk":
            from detector.sinks.splunk import SplunkSink

            return SplunkSink(client, **options)
        case "elastic":
            from detector.sinks.elastic import ElasticSink

            who = authorization(*(options.pop(name) for name in ("api_key", "username", "password")))
            return ElasticSink(client, who, **options)
        case "sentinel":
            from detector.sinks.sentinel import SCOPE, SentinelSink

            tokens = Client(f"{options.pop('authority')}/{options.pop('tenant')}/oauth2/v2.0/token", **reach)
            claim = client_credentials(options.pop("client_id"), options.pop("client_secret"), SCOPE)
            return SentinelSink(client, Token(tokens, claim), **options)
        case "secops":
            from detector.sinks.secops import SecOpsSink, assertion

            url = options.pop("token_url")
            return SecOpsSink(client, Token(Client(url, **reach), assertion(options.pop("credentials"), url)))
        case _:
            from detector.sinks.webhook import WebhookSink

            return WebhookSink(client, **options)
