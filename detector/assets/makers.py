"""Who made a network card, by the IEEE's list of organisations (OUI, MA-L), and what such makers make.

The list comes with netaddr (BSD), so nothing is fetched. It has whole blocks of 24 bits only; makers of small blocks
(MA-M, MA-S) are not in it.
"""

from functools import lru_cache
from typing import Final

from netaddr import EUI
from netaddr.core import AddrFormatError, NotRegisteredError

_LOCAL: Final = 0x02  # bit of the first octet: not the maker's address (IEEE 802 clause 8); phones and virtual machines
_NAME_LIMIT: Final = 60

TRADES: Final[dict[str, str]] = {
    "plants": (
        "siemens,rockwell,allen-bradley,schneider,telemecanique,modicon,abb ,phoenix contact,wago,beckhoff,omron,"
        "mitsubishi electric,yokogawa,honeywell,emerson,ge fanuc,ge intelligent,hilscher,hms industrial,b&r industrial,"
        "bernecker,bosch rexroth,pilz,festo,sick ag,turck,lenze,keba,fanuc,kuka,yaskawa,danfoss,schweitzer,"
        "national instruments,keyence,delta elec,koyo,red lion,pepperl,balluff,endress,krohne,weidm,eaton,advantech"
    ),
    "printing": "brother ind,lexmark,ricoh,kyocera,konica,zebra tech,oki data,seiko epson,canon inc,xerox,sato ",
    "watching": "axis comm,hikvision,dahua,vivotek,mobotix,hanwha,bosch security,geovision,avigilon",
    "networks": (
        "cisco,juniper,hirschmann,moxa,ruggedcom,fortinet,palo alto networks,arista,extreme networks,aruba,mikrotik,"
        "routerboard,ubiquiti,check point,sonicwall,watchguard,westermo,zyxel"
    ),
}
"""What is made -> parts of its makers' names, lower case, with commas between."""


@lru_cache(maxsize=65_536)
def maker(mac: str) -> str | None:
    """The organisation a hardware address was assigned to; None when nobody's, or set by software.

    >>> maker("00:1b:1b:12:34:56"), maker("02:00:00:00:00:01")
    ('Siemens AG', None)
    """
    if int(mac[:2], 16) & _LOCAL:
        return None
    try:
        name = str(EUI(mac).oui.registration().org)
    except (NotRegisteredError, AddrFormatError):
        return None
    return name.strip(" ,")[:_NAME_LIMIT] or None


def trade(name: str | None) -> str | None:
    """What a maker is known for, a key of `TRADES`."""
    lowered = (name or "").lower()
    return next((kind for kind, parts in TRADES.items() if any(part in lowered for part in parts.split(","))), None)
