"""Bodies of the calls that turn a public key into a certificate."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from idp_gateway.key_proofs import MAX_NONCE_LENGTH, MAX_PROOF_LENGTH
from idp_gateway.schemas.text import CertificateRequest, PublicKeyLine

LOG_PROOF = Field(
    default=None,
    description="That the certificate is in the transparency log: index, time, audit path"
    " (RFC 6962) and signed checkpoint.",
)


class SshKeyForm(BaseModel):
    """A public key to be certified."""

    ssh_public_key: PublicKeyLine = Field(
        description="One `authorized_keys` line without options.",
        examples=["ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAA… me@laptop"],
    )


class ProvenSshKeyForm(SshKeyForm):
    """A public key to be certified and, unless the socket does without, proof of its other half."""

    nonce: Annotated[str, Field(max_length=MAX_NONCE_LENGTH)] | None = Field(
        default=None, description="The challenge of `POST …/ssh-challenge`."
    )
    proof: Annotated[str, Field(max_length=MAX_PROOF_LENGTH)] | None = Field(
        default=None,
        description="Armored SSH signature of the key over `nonce`, namespace"
        " `ssh-certificate@mysocket.io`, as `ssh-keygen -Y sign` makes it.",
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.nonce is None) != (self.proof is None):
            missing = "nonce" if self.nonce is None else "proof"
            raise PydanticCustomError(
                "key-proof-invalid",
                "a proof is a nonce and the signature over it",
                {"field": missing},
            )
        return self


class SshChallengeReply(BaseModel):
    nonce: str = Field(description="What to sign with the key; begins with the socket's name.")
    expires_in: int = Field(description="Seconds the challenge is good for.")


class SshCertificateReply(BaseModel):
    signed_ssh_cert: str = Field(description="OpenSSH certificate, one `authorized_keys` line.")
    log_proof: dict[str, Any] | None = LOG_PROOF


class CsrForm(BaseModel):
    """A PKCS #10 request; only its public key and its signature count."""

    csr: CertificateRequest = Field(description="PEM of the certificate request (RFC 2986).")


class ClientCertificateReply(BaseModel):
    client_certificate: str = Field(description="PEM: the certificate, then its issuing CA.")
    log_proof: dict[str, Any] | None = LOG_PROOF
