"""The one function that decides. Pure and total: the same request always gets the same answer.

Default deny. A socket's policies are joined by OR, and so are the addresses and the domains of one
policy: one entry that matches anywhere is enough, and adding an entry can only let more people in.
Whoever was revoked on the socket stays out whatever the policies say.
Whether a socket asks for an identity at all (``Socket.identity_required``) is not decided here: who
gets as far as this is decided on like everybody else.
"""

from policy.conditions import domain_listed, email_listed, names_anybody, offers
from policy.policy_set import PolicySet
from policy.types import AccessRequest, Decision, Effect, Reason


def evaluate(policies: PolicySet, request: AccessRequest) -> Decision:
    """Decide on one request; a deny always says why, an allow names the policies it rests on."""
    socket, email = request.socket, request.identity.email
    if not offers(socket.socket_type, request.action):
        return _deny(Reason.ACTION_NOT_OFFERED)
    naming = [policy for policy in policies.policies if names_anybody(policy)]
    if not naming:
        return _deny(Reason.NO_POLICY)
    if email is None:
        return _deny(Reason.EMAIL_UNVERIFIED)
    if email in socket.blocked:
        return _deny(Reason.PERSON_REVOKED)
    by_email = [policy for policy in naming if email_listed(policy, email)]
    by_domain = [policy for policy in naming if domain_listed(policy, email)]
    reasons = ((Reason.EMAIL_ALLOWED,) if by_email else ()) + (
        (Reason.DOMAIN_ALLOWED,) if by_domain else ()
    )
    if not reasons:
        return _deny(Reason.NOT_ON_LIST)
    ids = dict.fromkeys(policy.policy_id for policy in [*by_email, *by_domain])
    return Decision(effect=Effect.ALLOW, reasons=reasons, policy_ids=tuple(ids))


def _deny(reason: Reason) -> Decision:
    return Decision(effect=Effect.DENY, reasons=(reason,))
