"""Keys that were handed over, as the sources of a Reach: nothing is read from this machine's own files, nobody is asked."""

import asyncssh

from homeport_protos.ssh.access import Access
from homeport_protos.ssh.places import Place
from homeport_protos.ssh.reach import BadKey, Trusted


class GivenKeys:
    """The keys of one place and its jump host."""

    def __init__(self, place: Place, access: Access) -> None:
        self._by_address = {place.address: access}
        if place.jump is not None and access.jump is not None:
            self._by_address[place.jump.address] = access.jump

    def load(self, place: Place) -> asyncssh.SSHKey:
        """Raises BadKey."""
        try:
            return asyncssh.import_private_key(self._by_address[place.address].private_key)
        except (KeyError, asyncssh.KeyImportError):
            raise BadKey(f"the key for {place.name} is not kept here; apply the fleet again") from None

    def trusted(self, host: str, port: int) -> Trusted | None:
        access = self._by_address.get((host, port))
        return None if access is None else ([asyncssh.import_public_key(access.host_key)], [], [])
