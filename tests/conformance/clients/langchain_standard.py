"""Runs in an environment of its own, with LangChain instead of inhouse."""

from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langchain_tests.integration_tests import ChatModelIntegrationTests, EmbeddingsIntegrationTests


class TestChat(ChatModelIntegrationTests):
    @property
    def chat_model_class(self) -> type[ChatOpenAI]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict:
        return {"model": "stand-in", "temperature": 0, "stream_usage": True}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_model_override(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "stand-in-reasoning"


class TestStructuredByFunction(TestChat):
    """Structured answers as calls of a function, as before there were schemas."""

    @property
    def structured_output_kwargs(self) -> dict:
        return {"method": "function_calling"}


class TestEmbeddings(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[OpenAIEmbeddings]:
        return OpenAIEmbeddings

    @property
    def embedding_model_params(self) -> dict:
        # Texts are counted with OpenAI's own vocabulary otherwise, which is downloaded.
        return {"model": "stand-in-embedding", "check_embedding_ctx_length": False}
