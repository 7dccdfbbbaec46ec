"""The register of suppliers in the plant file: who they are, whom to call, how they come in, and what was agreed.

NIS2 (Directive (EU) 2022/2555, Art. 21(2)(d)) asks for the security of the supply chain, IEC 62443-2-4 (SP.07) for
remote access that is known and limited. `agreements` answers questions about it.
"""

from collections.abc import Collection, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from detector.assets.section import Moment, Section, local_us
from detector.assets.windows import Window

_TEXT: Final = 200  # characters
_MOST: Final = 10_000  # entries of a list

ANY: Final = "any"


def _network(text: str) -> str:
    ip_network(text)
    return text


Text = Annotated[str, Field(max_length=_TEXT)]
Place = Annotated[str, AfterValidator(_network)]
"""An address or a network."""
Places = Annotated[tuple[Place, ...], Field(max_length=_MOST)]
Texts = Annotated[tuple[Text, ...], Field(max_length=_MOST)]


def _contact(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class Contact(Section):
    """Whom to call; a text alone is a name."""

    name: Text | None = None
    email: Text | None = None
    phone: Text | None = None
    role: Text | None = None


class Vendor(Section):
    """A supplier: its identities, and what was agreed with it. What is not given is not limited."""

    name: Text | None = None
    contacts: tuple[Annotated[Contact, BeforeValidator(_contact)], ...] = ()
    contract: Text | None = None
    criticality: Literal["low", "normal", "high", "critical"] | None = None
    account: str | None = None
    accounts: Texts = ()
    hosts: Places = ()
    vpn_pools: Places = ()
    via: Places = ()
    assets: Texts = ()
    services: Texts | Literal["any"] = ANY
    operations: Texts | Literal["any"] = ANY
    windows: tuple[Window, ...] = ()
    valid_from: Moment | None = None
    expires: Moment | None = None

    @model_validator(mode="after")
    def _in_order(self) -> "Vendor":
        begin, end = self.valid_from, self.expires
        if begin is not None and end is not None and local_us(begin) > local_us(end):
            raise ValueError("expires before valid_from")
        return self

    @property
    def label(self) -> str:
        """What to call it."""
        return self.name or next(iter((*self.logins, *self.hosts, *self.vpn_pools)), "a supplier without a name")

    @property
    def logins(self) -> tuple[str, ...]:
        """Its accounts, in lower case."""
        given = (self.account, *self.accounts) if self.account is not None else self.accounts
        return tuple(dict.fromkeys(account.lower() for account in given))


class Networks:
    """Addresses and networks: whether an address is among them."""

    def __init__(self, places: Sequence[str]) -> None:
        networks = [ip_network(place) for place in places]
        self._single = {str(net.network_address) for net in networks if net.num_addresses == 1}
        self._wide: list[IPv4Network | IPv6Network] = [net for net in networks if net.num_addresses > 1]

    def __contains__(self, address: object) -> bool:
        if address in self._single:
            return True
        return bool(self._wide) and any(ip_address(str(address)) in network for network in self._wide)

    def __bool__(self) -> bool:
        return bool(self._single or self._wide)


def is_place(text: str) -> bool:
    """Whether it is an address or a network, and no name."""
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


def unknown_assets(vendors: Sequence[Vendor], names: Collection[str]) -> Iterator[tuple[str, str]]:
    """Key and reason of each permitted asset that is neither a place nor one of the names (zones and roles)."""
    for order, vendor in enumerate(vendors):
        for place, asset in enumerate(vendor.assets):
            if asset not in names and not is_place(asset):
                reason = f"{asset!r} is no address, no network, and no zone, role or kind of known server of this file"
                yield f"vendors.{order}.assets.{place}", reason
