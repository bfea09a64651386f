"""What the gateway counts. Model labels hold known names only, so that bad requests cannot make new series."""

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("inhouse_chat_requests_total", "Chat completion requests.", ["model", "status"])
IN_FLIGHT = Gauge("inhouse_chat_in_flight", "Chat completions being answered.")
FIRST_TOKEN_SECONDS = Histogram("inhouse_chat_first_token_seconds", "Seconds to the first token.", ["model"])
TOKENS = Counter("inhouse_chat_tokens_total", "Tokens read and written.", ["model", "direction"])
