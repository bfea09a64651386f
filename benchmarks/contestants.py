"""The gateways that are measured side by side, each started in front of one model server."""

import json
import os
import secrets
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from programs import GATEWAY_CORE, Program, find, free_port, side_python

MODEL = "gpt-4o"
LITELLM = ["litellm[proxy]==1.106.2", "opentelemetry-sdk", "opentelemetry-exporter-otlp", "httptools", "uvloop"]
TENSORZERO = ["tensorzero==2026.6.0"]

TENSORZERO_START = """
import sys, time, tensorzero
gateway = tensorzero._start_http_gateway(
    config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False
)
print("listens on", gateway.base_url, flush=True)
while True:
    time.sleep(60)
"""
TENSORZERO_CONFIG = """
[gateway]
observability.enabled = false
disable_pseudonymous_usage_analytics = true

[models.{model}]
routing = ["fake"]

[models.{model}.providers.fake]
type = "openai"
model_name = "{model}"
api_base = "{upstream}/"
api_key_location = "none"
"""
NGINX_CONFIG = """
{user}
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    upstream fake {{
        server {server};
        keepalive 128;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://fake;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""

EACH = ("key",)
POLICIES: dict[str, dict[str, Any]] = {
    "metrics": {},
    "audit": {"enabled": True},
    "usage": {"prices": [{"model": MODEL, "input": 2.5, "output": 10.0}]},
    "keys": {"rules": [{"model": "gpt-*"}]},
    "limits": {
        "rules": [{"each": who, "requests_per_minute": 10_000_000, "tokens_per_minute": 10_000_000_000} for who in EACH]
    },
    "budget": {"rules": [{"each": who, "cost": 1e12, "tokens": 10**15} for who in EACH]},
}
"""What is on while our gateway is measured; the bounds are so wide that nothing is refused."""


NEW_KEY = {"name": "benchmark", "scopes": ["chat:run"], "models": ["gpt-*"], "team": "people"}


@dataclass(frozen=True, slots=True)
class Running:
    """A gateway that answers: where, for which model name, with which credentials."""

    name: str
    url: str
    program: Program
    start_s: float
    model: str = MODEL
    authorization: str = ""


@contextmanager
def inhouse(upstream: str, work: Path, *, policies: Mapping[str, Any] = POLICIES) -> Iterator[Running]:
    """This checkout, on a fresh data directory."""
    home, port = work / "home", free_port()
    url = f"http://127.0.0.1:{port}"
    shutil.rmtree(home, ignore_errors=True)
    command = [sys.executable, "-m", "inhouse.cli", "up", "--home", home, "--port", str(port)]
    with Program(command, core=GATEWAY_CORE, log=work / "inhouse.log", directory=work) as program:
        start_s = program.answers(f"{url}/readyz")
        program.said("inhouse is ready")
        key = set_up(Admin(url, (home / "admin.key").read_text().strip()), upstream, policies)
        yield Running("ours", f"{url}/v1/chat/completions", program, start_s, authorization=f"Bearer {key}")


def set_up(admin: "Admin", upstream: str, policies: Mapping[str, Any]) -> str:
    """Connect the model server, switch the policies on, and make the key that the load is sent with."""
    admin.send("POST", "/upstreams", {"name": "fake", "url": upstream, "model": MODEL})
    for name, settings in policies.items():
        admin.send("PUT", f"/gateway/policies/{name}", settings)
    if policies:
        active = {one["name"] for one in admin.send("GET", "/gateway/policies")["items"] if one["is_active"]}
        if missing := policies.keys() - active:
            raise SystemExit(f"These policies are not active: {', '.join(sorted(missing))}.")
    return admin.send("POST", "/keys", NEW_KEY)["key"]


@dataclass(frozen=True, slots=True)
class Admin:
    """The management API of our server."""

    url: str
    key: str

    def send(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"{self.url}/api/v1{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{method} {path} was refused: {error.code} {error.read().decode()}") from error


@contextmanager
def litellm(upstream: str, work: Path) -> Iterator[Running]:
    """LiteLLM's proxy in its cheapest mode: a master key, no database, no callbacks, one worker."""
    python = side_python(work / "litellm", LITELLM)
    port, key = free_port(), f"sk-{secrets.token_urlsafe(24)}"
    parameters = {"model": f"openai/{MODEL}", "api_base": upstream, "api_key": "none"}
    config = {
        "model_list": [{"model_name": MODEL, "litellm_params": parameters}],
        "general_settings": {"master_key": key},
        "litellm_settings": {"telemetry": False},
    }
    (work / "litellm.yaml").write_text(json.dumps(config))
    local = ["env", "LITELLM_LOCAL_MODEL_COST_MAP=True", "LITELLM_LOG=ERROR"]
    options = ["--config", work / "litellm.yaml", "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    with Program(
        [*local, python.with_name("litellm"), *options], core=GATEWAY_CORE, log=work / "litellm.log"
    ) as program:
        start_s = program.answers(f"http://127.0.0.1:{port}/health/liveliness")
        chat = f"http://127.0.0.1:{port}/v1/chat/completions"
        yield Running("litellm", chat, program, start_s, authorization=f"Bearer {key}")


@contextmanager
def tensorzero(upstream: str, work: Path) -> Iterator[Running]:
    """TensorZero's Rust gateway, which its Python wheel carries and can start; nothing is stored."""
    python = side_python(work / "tensorzero", TENSORZERO)
    config = work / "tensorzero.toml"
    config.write_text(TENSORZERO_CONFIG.format(model=MODEL, upstream=upstream))
    with Program(
        [python, "-c", TENSORZERO_START, config], core=GATEWAY_CORE, log=work / "tensorzero.log", directory=work
    ) as program:
        url = program.said("listens on").rpartition(" ")[2].rstrip("/")
        start_s = program.age_s
        yield Running(
            "tensorzero", f"{url}/chat/completions", program, start_s, model=f"tensorzero::model_name::{MODEL}"
        )


@contextmanager
def nginx(upstream: str, work: Path) -> Iterator[Running]:
    """nginx as a plain reverse proxy: no policy at all."""
    server, port, prefix = find("nginx", "nginx-light"), free_port(), work / "nginx"
    prefix.mkdir(exist_ok=True)
    address = upstream.removeprefix("http://").removesuffix("/v1")
    user = "user root;" if os.geteuid() == 0 else ""
    (prefix / "nginx.conf").write_text(NGINX_CONFIG.format(user=user, server=address, port=port))
    command = [server, "-p", prefix, "-c", "nginx.conf", "-e", "stderr"]
    with Program(command, core=GATEWAY_CORE, log=work / "nginx.log") as program:
        start_s = program.answers(f"http://127.0.0.1:{port}/v1/models")
        yield Running("nginx", f"http://127.0.0.1:{port}/v1/chat/completions", program, start_s)


CONTESTANTS: dict[str, Callable[[str, Path], AbstractContextManager[Running]]] = {
    "ours": inhouse,
    "nginx": nginx,
    "tensorzero": tensorzero,
    "litellm": litellm,
}
