"""Apps, chatting with them, conversations and feedback over HTTP."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from inhouse.apps.chat import ChatApps, Question, Turn
from inhouse.apps.conversations import Conversations
from inhouse.apps.feedback import Feedbacks
from inhouse.apps.publish import Apps
from inhouse.apps.schemas import (
    AppFace,
    AppList,
    AppOut,
    ChatOut,
    ConversationList,
    ConversationOut,
    FeedbackGiven,
    FeedbackIn,
    FeedbackOut,
    MessageList,
    MessageOut,
    NewApp,
    QuestionIn,
    SourceOut,
    frame,
)
from inhouse.core.api import permit, sse
from inhouse.core.principal import Principal

Reader = Annotated[Principal, permit("app:read")]
Publisher = Annotated[Principal, permit("app:write")]
User = Annotated[Principal, permit("app:use")]


def router(apps: Apps, chats: ChatApps, conversations: Conversations, feedbacks: Feedbacks) -> APIRouter:
    """The routes of this room. Plain functions run in the server's thread pool."""
    routes = APIRouter(tags=["apps"])

    @routes.get("/apps")
    def list_apps(who: Reader) -> AppList:
        return AppList(items=[AppOut.of(app) for app in apps.list(who)])

    @routes.post("/apps", status_code=201)
    def publish(body: NewApp, who: Publisher) -> AppOut:
        """Make an app of a workflow. Later edits of the workflow are live at once."""
        return AppOut.of(apps.publish(who, body.name, body.workflow, body.face()))

    @routes.get("/apps/{name}")
    def get_app(name: str, who: Reader) -> AppOut:
        return AppOut.of(apps.get(who, name))

    @routes.put("/apps/{name}")
    def change(name: str, body: AppFace, who: Publisher) -> AppOut:
        """Give an app another workflow, title, opener or suggested questions."""
        return AppOut.of(apps.change(who, name, body.workflow, body.face()))

    @routes.post("/apps/{name}/chat", response_model=MessageOut)
    async def chat(name: str, body: QuestionIn, who: User) -> StreamingResponse | MessageOut:
        """Ask an app. As a stream the events are start, node, delta, sources, and done or error."""
        if not body.stream:
            return MessageOut.model_validate(await chats.reply(who, name, body.question()))
        return sse(_frames(chats, await chats.ask(who, name, body.question())))

    @routes.get("/chat")
    async def ask(
        who: User,
        query: str,
        context: str = "",
        temperature: Annotated[float | None, Query(ge=0, le=2)] = None,
        app: str = "",
    ) -> ChatOut:
        """Ask one question in a conversation of its own; without an app the one that was published first."""
        message = await chats.reply(who, app, Question(query, context=context, temperature=temperature))
        return ChatOut(
            answer=message.answer,
            sources=[SourceOut.model_validate(source) for source in message.sources],
            message_id=message.id,
            conversation_id=message.conversation_id,
            trace_id=message.trace_id,
            model_versions=message.model_versions,
        )

    @routes.get("/conversations")
    def list_conversations(
        who: User,
        app: str = "",
        before: Annotated[float | None, Query(description="updated_at of the last one of the page before")] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> ConversationList:
        """One's own conversations, the last used first."""
        found = conversations.list(who, app=app, before=before, limit=limit)
        return ConversationList(items=[ConversationOut.model_validate(one) for one in found])

    @routes.get("/conversations/{conversation_id}/messages")
    def list_messages(
        conversation_id: str,
        who: User,
        before: Annotated[float | None, Query(description="created_at of the first message of the page after")] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 100,
    ) -> MessageList:
        """The last messages in reading order."""
        found = conversations.messages(who, conversation_id, before=before, limit=limit)
        return MessageList(items=[MessageOut.model_validate(message) for message in found])

    @routes.delete("/conversations/{conversation_id}", status_code=204)
    def delete_conversation(conversation_id: str, who: User) -> None:
        """Delete a conversation with its messages and the feedback on them."""
        conversations.delete(who, conversation_id)

    @routes.post("/messages/{message_id}/feedback")
    def give_feedback(
        message_id: str, body: FeedbackIn, who: Annotated[Principal, permit("feedback:write")]
    ) -> FeedbackGiven:
        """Rate one's own message, change the rating, or take it back with a null."""
        opinion = body.opinion()
        if opinion is None:
            feedbacks.withdraw(who, message_id)
            return FeedbackGiven(feedback=None)
        return FeedbackGiven(feedback=FeedbackOut.model_validate(feedbacks.give(who, message_id, opinion).opinion))

    return routes


async def _frames(chats: ChatApps, turn: Turn) -> AsyncIterator[dict[str, Any]]:
    async with aclosing(chats.answer(turn)) as events:
        async for event in events:
            yield frame(event)
