"""Signing in and out, users and keys over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from inhouse.access.identity import SESSION_S, Identity
from inhouse.access.schemas import (
    KeyCreated,
    KeyList,
    KeyOut,
    LinkOut,
    Me,
    NewKeyIn,
    NewPassword,
    NewUser,
    SignIn,
    UserChange,
    UserList,
    UserOut,
)
from inhouse.core.api import permit
from inhouse.core.principal import Principal

COOKIE = "inhouse_session"


def router(identity: Identity, *, secure_cookies: bool = False) -> APIRouter:
    """Routes under /auth, /me, /users and /keys. Handlers are sync: FastAPI runs them in threads."""
    routes = APIRouter(tags=["access"])

    def remember(response: Response, token: str) -> None:
        response.set_cookie(
            COOKIE, token, max_age=int(SESSION_S), httponly=True, samesite="lax", secure=secure_cookies, path="/"
        )

    @routes.get("/auth/link", openapi_extra={"x-public": True})
    def sign_in_by_link(token: str) -> RedirectResponse:
        """Sign in with a one-time link."""
        response = RedirectResponse("/", status_code=303)
        remember(response, identity.sign_in_by_link(token))
        return response

    @routes.post("/auth/login", status_code=204, openapi_extra={"x-public": True})
    def sign_in(body: SignIn, request: Request, response: Response) -> None:
        """Sign in with a password."""
        address = request.client.host if request.client else ""
        remember(response, identity.sign_in(Principal.system(), body.username, body.password, address))

    @routes.post("/auth/logout", status_code=204, openapi_extra={"x-public": True})
    def sign_out(request: Request, response: Response) -> None:
        if token := request.cookies.get(COOKIE):
            identity.sign_out(token)
        response.delete_cookie(COOKIE, path="/")

    @routes.get("/me")
    def me(who: Annotated[Principal, permit("self:read")]) -> Me:
        return Me(user_id=who.user_id, workspace_id=who.workspace_id, permissions=sorted(who.scopes))

    @routes.post("/me/password", status_code=204)
    def change_password(body: NewPassword, who: Annotated[Principal, permit("self:write")]) -> None:
        """Set a new password; ends every session of the user."""
        identity.set_password(who, who.user_id, body.password)

    @routes.get("/users")
    def list_users(who: Annotated[Principal, permit("user:read")]) -> UserList:
        return UserList(items=[UserOut.of(user) for user in identity.users(who)])

    @routes.post("/users", status_code=201)
    def add_user(body: NewUser, who: Annotated[Principal, permit("user:write")]) -> UserOut:
        return UserOut.of(identity.add_user(who, body.name, body.role, body.password, team=body.team))

    @routes.patch("/users/{name}")
    def change_user(name: str, body: UserChange, who: Annotated[Principal, permit("user:write")]) -> UserOut:
        """Disable or enable a user, or put them into a team. Sessions and keys of a disabled user stop at once."""
        return UserOut.of(identity.change_user(who, name, disabled=body.disabled, team=body.team))

    @routes.post("/users/{name}/link")
    def make_link(name: str, who: Annotated[Principal, permit("user:write")]) -> LinkOut:
        """Make a link that signs this user in once, within a day."""
        return LinkOut(path=f"/api/v1/auth/link?token={identity.make_link(who, name)}")

    @routes.get("/keys")
    def list_keys(who: Annotated[Principal, permit("key:read")]) -> KeyList:
        return KeyList(items=[KeyOut.of(key) for key in identity.keys(who)])

    @routes.post("/keys", status_code=201)
    def add_key(body: NewKeyIn, who: Annotated[Principal, permit("key:write")]) -> KeyCreated:
        """Make an API key. Its text is in this answer and nowhere else."""
        key, text = identity.add_key(
            who,
            body.name,
            tuple(body.scopes),
            expires_at=body.expires_at,
            models=tuple(body.models),
            team=body.team,
            priority=body.priority,
        )
        return KeyCreated(**KeyOut.of(key).model_dump(), key=text)

    @routes.delete("/keys/{key_id}", status_code=204)
    def revoke_key(key_id: str, who: Annotated[Principal, permit("key:write")]) -> None:
        identity.revoke_key(who, key_id)

    return routes
