"""Bodies of the calls that turn a public key into a certificate."""

from pydantic import BaseModel, Field

from idp_gateway.schemas.text import CertificateRequest, PublicKeyLine


class SshKeyForm(BaseModel):
    """A public key to be certified."""

    ssh_public_key: PublicKeyLine = Field(
        description="One `authorized_keys` line without options.",
        examples=["ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAA… me@laptop"],
    )


class SshCertificateReply(BaseModel):
    signed_ssh_cert: str = Field(description="OpenSSH certificate, one `authorized_keys` line.")


class CsrForm(BaseModel):
    """A PKCS #10 request; only its public key and its signature count."""

    csr: CertificateRequest = Field(description="PEM of the certificate request (RFC 2986).")


class ClientCertificateReply(BaseModel):
    client_certificate: str = Field(description="PEM: the certificate, then its issuing CA.")
