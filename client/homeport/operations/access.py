"""Who may do what: tokens and users."""

from collections.abc import Sequence

from homeport_protos.api.v1 import api_pb2 as pb

from homeport import methods
from homeport.steps import Steps, call


def tokens() -> Steps[list[pb.Token]]:
    """Your own, for an admin all; never the secret itself."""
    answer = yield from call(methods.LIST_TOKENS, pb.ListTokensRequest())
    return list(answer.tokens)


def create_token(
    name: str, *, role: str = "user", services: Sequence[str] = (), ttl_s: float = 0.0, user: str = ""
) -> Steps[pb.CreateTokenResponse]:
    """`token` of the answer is shown this once. `role`: user, service, metrics or admin.

    `services`: with the role service: only these. `ttl_s`: 0: for ever. `user`: whose it will be; another one's needs an admin.
    """
    request = pb.CreateTokenRequest(name=name, role=role, services=services, ttl_s=ttl_s, user=user)
    return (yield from call(methods.CREATE_TOKEN, request))


def revoke_token(token: str) -> Steps[None]:
    """At once and for ever. `token`: its id or its name."""
    yield from call(methods.REVOKE_TOKEN, pb.RevokeTokenRequest(id=token))


def users() -> Steps[list[pb.User]]:
    answer = yield from call(methods.LIST_USERS, pb.ListUsersRequest())
    return list(answer.users)


def create_user(name: str, *, role: str = "user", ttl_s: float = 0.0) -> Steps[pb.CreateUserResponse]:
    """`token` of the answer, the first one, is shown this once. `role`: user or admin. `ttl_s`: of that token; 0: for ever."""
    return (yield from call(methods.CREATE_USER, pb.CreateUserRequest(name=name, role=role, ttl_s=ttl_s)))


def delete_user(name: str) -> Steps[int]:
    """Its tokens are revoked, its runs go on. How many tokens that were."""
    answer = yield from call(methods.DELETE_USER, pb.DeleteUserRequest(name=name))
    return answer.tokens_revoked
