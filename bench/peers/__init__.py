"""The servers that can be measured, one file each, and the table of them."""

from typing import Final

from bench.peers.litserve import LITSERVE
from bench.peers.loopback import Loopback
from bench.peers.mlserver import MLServer
from bench.peers.mosec import MOSEC
from bench.peers.mpserve import Mpserve
from bench.peers.peer import Control, Peer, Site
from bench.peers.program import ProgramPeer
from bench.peers.triton import Triton

PEERS: Final[dict[str, Peer]] = {
    peer.name: peer
    for peer in (
        Mpserve(),
        Mpserve(frontends=2),
        Triton(),
        MLServer(parallel_workers=0),
        MLServer(parallel_workers=1),
        ProgramPeer(MOSEC),
        ProgramPeer(LITSERVE),
        Loopback(),
    )
}

__all__ = ["PEERS", "Control", "Peer", "Site"]
