"""What serving counts."""

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("inhouse_predict_requests_total", "Prediction requests.", ["model", "status"])
SECONDS = Histogram("inhouse_predict_seconds", "Seconds per prediction request.", ["model"])
LOADED = Gauge("inhouse_models_loaded", "Model versions in memory.")
LOAD_SECONDS = Histogram("inhouse_model_load_seconds", "Seconds to fetch, verify, load and warm a model version.")
