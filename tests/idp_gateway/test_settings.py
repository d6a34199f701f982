"""Settings: defaults of one machine, a file, the environment, and mistakes told in one line."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from idp_gateway.errors import SettingsError
from idp_gateway.settings import Settings


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MYSOCKET_STATE_DIR", raising=False)
    monkeypatch.delenv("MYSOCKET_LISTEN_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(text, "utf-8")
    return path


def test_without_a_file_everything_lies_in_one_directory(tmp_path: Path) -> None:
    settings = Settings.load()
    state = tmp_path / ".mysocket"
    assert settings.state_dir == state
    assert settings.database_url == f"sqlite:///{state / 'gateway.db'}"
    assert settings.listen_socket == state / "run" / "gateway.sock"
    assert settings.edge_key_file == state / "secrets" / "edge.key"
    assert settings.master_key_file == state / "secrets" / "master.key"
    assert settings.base_url == "https://gateway.localhost:8443"
    assert settings.tunnel_host == "gateway.localhost"
    assert list(settings.ports)[0::9999] == [20000, 29999]


def test_a_file_says_what_differs(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        state_dir = "/srv/mysocket"
        gateway_names = ["Gate.Example.com", "alt.example.com"]
        edge_domain = "edge.example.com"
        https_port = 443
        listen_address = ""
        port_range = [30000, 30001]
        signup_open = false
        [[providers]]
        name = "corp"
        issuer = "https://idp.example.com"
        client_id = "mysocket"
        client_secret = "s3cret"
        """,
    )
    settings = Settings.load(path)
    assert settings.base_url == "https://gate.example.com"
    assert settings.tunnel_host == "Gate.Example.com"
    assert settings.listen_address == ""
    assert list(settings.ports) == [30000, 30001]
    assert settings.database_url == "sqlite:////srv/mysocket/gateway.db"
    assert settings.providers[0].secret() == "s3cret"
    assert "s3cret" not in repr(settings)


def test_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, 'state_dir = "/srv/one"\nhttps_port = 1443')
    monkeypatch.setenv("MYSOCKET_STATE_DIR", "/srv/two")
    monkeypatch.setenv("MYSOCKET_GATEWAY_NAMES", '["env.example.com"]')
    settings = Settings.load(path)
    assert settings.database_url == "sqlite:////srv/two/gateway.db"
    assert settings.base_url == "https://env.example.com:1443"


def test_a_secret_may_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from-file\n")
    provider = f"""
    [[providers]]
    name = "corp"
    issuer = "http://localhost:9400"
    client_id = "x"
    client_secret_file = "{tmp_path / "secret"}"
    """
    assert Settings.load(written(tmp_path, provider)).providers[0].secret() == "from-file"


_PROVIDER = '[[providers]]\nname = "a"\nclient_id = "c"\n'


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("signupopen = true", "unknown setting 'signupopen'"),
        ('https_port = "x"', "https_port"),
        ("https_port = 0", "https_port"),
        ("https_port = 65536", "https_port"),
        ("port_range = [2, 1]", "port_range"),
        ("port_range = [20000]", "port_range"),
        ("port_range = [0, 70000]", "port_range"),
        ("gateway_names = []", "gateway_names"),
        ('gateway_names = ["bad name"]', "gateway_names"),
        ('gateway_names = ["localhost"]', "gateway_names"),
        ('edge_domain = "*.x"', "edge_domain"),
        ('gateway_names = ["g.edge.test"]\nedge_domain = "edge.test"', "below the domain"),
        ('gateway_names = ["edge.test"]\nedge_domain = "edge.test"', "below the domain"),
        ('listen_address = "8000"', "host:port"),
        ('listen_address = "127.0.0.1:99999"', "host:port"),
        ("grant_minutes = 0", "grant_minutes"),
        ("login_session_hours = -1", "login_session_hours"),
        (_PROVIDER, "issuer"),
        (_PROVIDER + 'issuer = "http://idp.example.com"', "https"),
        (_PROVIDER + 'issuer = "https://i.test"\nsecret = "x"', "unknown setting"),
        ((_PROVIDER + 'issuer = "https://i.test"\n') * 2, "same name"),
        ("not toml", "cannot read"),
        ("state_dir = 5", "state_dir"),
    ],
)
def test_a_mistake_is_told_in_one_line(tmp_path: Path, text: str, word: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.load(written(tmp_path, text))
    assert word in caught.value.message
    assert "\n" not in caught.value.message


def test_a_mistake_in_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYSOCKET_GATEWAY_NAMES", "not json")
    with pytest.raises(SettingsError):
        Settings.load()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot read"):
        Settings.load(tmp_path / "no-such.toml")


def test_settings_never_change() -> None:
    with pytest.raises(ValidationError):
        Settings.load().https_port = 1  # type: ignore[misc]


def test_ca_keys_are_sealed_in_the_database_unless_told_otherwise() -> None:
    assert Settings.load().ca.signers == ("file",)


def test_places_of_ca_keys_are_told_in_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(
        tmp_path,
        """
        [ca]
        user_signer = "pkcs11"
        host_algorithm = "rsa3072"
        pkcs11_module = "/usr/lib/token.so"
        pkcs11_token = "mysocket"
        pkcs11_pin_file = "/etc/pin"
        [ca.options]
        region = "eu"
        """,
    )
    monkeypatch.setenv("MYSOCKET_CA", '{"host_signer": "ssh-agent", "agent_socket": "/run/agent"}')
    told = Settings.load(path).ca
    assert told.signers == ("pkcs11", "ssh-agent", "file")
    assert told.host_algorithm == "rsa3072"
    assert told.options == {"region": "eu"}
    assert told.agent_socket == Path("/run/agent")


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ('user_signer = "pkcs11"', "ca: pkcs11 needs pkcs11_module, pkcs11_token and"),
        ('x509_signer = "ssh-agent"', "ca: ssh-agent needs agent_socket"),
        ('x509_algorithm = "ed25519"', "ca: x509_algorithm is p256, p384, rsa3072 or rsa4096"),
        ('user_algorithm = "rsa2048"', "ca.user_algorithm: Input should be 'ed25519'"),
        ('pkcs11_pin = "1234"', "unknown setting 'ca.pkcs11_pin'"),
    ],
)
def test_places_that_cannot_be_are_refused(tmp_path: Path, table: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told) as caught:
        Settings.load(written(tmp_path, f"[ca]\n{table}\n"))
    assert "1234" not in str(caught.value)
