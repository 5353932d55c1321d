"""Whether answers to letters arrive, and whether the mail server's address has a name, as receivers want it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from winback.scheduler.deliverability.finding import Finding
from winback.scheduler.deliverability.names import Address, Names, organisation

#: A server with more addresses is no shop's own.
_LOOKED_AT = 4


def incoming(names: Names, domain: str) -> Finding:
    """Return whether the domain takes mail: answers and bounces come there, and receivers ask."""
    found = names.exchangers(domain)
    if found is None:
        return Finding("MX", False, f"there is no domain {domain} in the DNS", "correct shop.email_from, or register the domain")
    if "" in found:
        message = f"{domain} takes no mail (its MX is empty): answers and bounces are lost, and receivers turn such senders away"
        return Finding("MX", False, message, "publish an MX record that names your mail server")
    if found:
        return Finding("MX", True, f"mail to {domain} goes to {', '.join(found)}")
    if names.addresses(domain):
        message = f"{domain} has no MX record; mail to it goes to the machine of that name"
        return Finding("MX", None, message, "see that answers arrive there, or publish an MX record")
    message = f"{domain} has no MX record: answers and bounces are lost, and receivers turn such senders away"
    return Finding("MX", False, message, "publish an MX record that names your mail server")


def reverse(names: Names, host: str, addresses: Sequence[Address], sender: str) -> Iterator[Finding]:
    """Yield whether each address of the mail server has a name that leads back to it."""
    public = [address for address in addresses if address.is_global]
    if not public:
        message = f"{host} is reached by an address that is not seen from outside, so that its name there cannot be looked up"
        yield Finding("reverse DNS", None, message)
        return
    # A provider sends by other machines than the one that listens, and looks after the names of its own.
    wrong = False if organisation(host) == organisation(sender) else None
    for address in public[:_LOOKED_AT]:
        found = names.names_of(address)
        back = [name for name in found if address in (names.addresses(name) or ())]
        if back:
            yield Finding("reverse DNS", True, f"{address} is {back[0]}")
        elif found:
            message = (
                f"{address} is said to be {found[0]}, which is not at that address: receivers take such servers for spammers"
            )
            yield Finding("reverse DNS", wrong, message, "ask whoever gave you the address to correct its PTR record")
        else:
            message = f"{address} has no name in the DNS (PTR): receivers turn such servers away"
            yield Finding("reverse DNS", wrong, message, "ask whoever gave you the address for a PTR record")
