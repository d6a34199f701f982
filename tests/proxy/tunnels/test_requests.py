"""The index of tunnels answers as a look at every tunnel would, after any sequence of states."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.state import EdgeTunnel
from proxy.tunnels.ssh.login import Login
from proxy.tunnels.ssh.requests import TunnelIndex
from tests.support.edge_state import ALICE, BOB, edge_tunnel

TUNNELS = st.dictionaries(
    st.sampled_from(["t-1", "t-2", "t-3", "t-4"]),
    st.tuples(
        st.integers(1, 2), st.sampled_from(["web-id", "other-id"]), st.sampled_from([ALICE, BOB])
    ),
).map(
    lambda found: {
        key: edge_tunnel(key, port, socket_id, user)
        for key, (port, socket_id, user) in found.items()
    }
)
LOGINS = st.builds(
    Login,
    user_name=st.sampled_from([ALICE, BOB]),
    key=st.just(b""),
    by_certificate=st.just(True),
    socket_id=st.none() | st.sampled_from(["web-id", "other-id"]),
    tunnel_id=st.none() | st.sampled_from(["t-1", "t-2"]),
)


@given(st.lists(TUNNELS, min_size=1, max_size=5), LOGINS, st.integers(0, 2))
def test_the_index_finds_what_a_search_finds(
    history: list[dict[str, EdgeTunnel]], login: Login, port: int
) -> None:
    index = TunnelIndex()
    for before, after in zip([{}, *history], history, strict=False):
        lost = index.follow(after)
        assert lost == any(after.get(key) != tunnel for key, tunnel in before.items())
    expected = {
        key
        for key, tunnel in history[-1].items()
        if tunnel.user_name == login.user_name
        and login.socket_id in {None, tunnel.socket_id}
        and login.tunnel_id in {None, tunnel.tunnel_id}
        and (tunnel.local_port == port if port else login.socket_id is not None)
    }
    assert {tunnel.tunnel_id for tunnel in index.candidates(login, port)} == expected
