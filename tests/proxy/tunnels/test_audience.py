"""Who is shown a socket's lines."""

from proxy.tunnels.ssh.audience import Audience


def test_a_watcher_is_found_under_its_sockets_alone() -> None:
    audience: Audience[str] = Audience()
    audience.place("one", {"a", "b"})
    audience.place("two", {"b"})
    assert set(audience.of("b")) == {"one", "two"}
    assert audience.of("a") == ("one",)
    audience.place("one", {"b", "c"})
    assert audience.of("a") == ()
    assert "a" not in audience
    assert set(audience.of("b")) == {"one", "two"}
    assert audience.of("c") == ("one",)


def test_a_watcher_without_sockets_leaves_nothing_behind() -> None:
    audience: Audience[str] = Audience()
    audience.place("one", {"a"})
    audience.place("one", set())
    audience.place("one", set())
    assert vars(audience) == vars(Audience())
