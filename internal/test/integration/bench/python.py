"""A typical collector in Python.

The arguments are the URL of the list, the page size, the API key and the value of the
control_plane label. It prints its URL, and ends when its standard input ends.
"""

import gzip
import json
import resource
import sys
import threading
import urllib.request
from datetime import datetime
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import ThreadingWSGIServer

list_url, page_size, api_key, control_plane = sys.argv[1:]

LABELS = ["target", "control_plane", "kind", "tenant", "owner_team", "creator", "token_name", "token_id"]


class Collector:
    def collect(self):
        def gauge(name, text, *labels):
            return GaugeMetricFamily(f"truefoundry_token_{name}", text, labels=[*LABELS, *labels])

        created = gauge("created_timestamp_seconds", "When the token was created.")
        expired = gauge("expired", "Whether the token is expired.")
        expiry = gauge("expiry_timestamp_seconds", "When the token stops working.")
        has_expiry = gauge("has_expiry", "Whether the token has an expiry.")
        info = gauge("info", "A token that is listed by the control plane.", "creator_type", "token_type")
        issued = gauge("issued_timestamp_seconds", "When the token's current JWT was created.")
        last_accessed = gauge("last_accessed_timestamp_seconds", "When the token was last used to authenticate.")
        next_rotation = gauge("next_rotation_timestamp_seconds", "When the token's next rotation is due.")
        replaced = gauge("replaced", "Whether the token is replaced by a later one.")
        all_tokens, last = list(tokens()), {}
        for token in all_tokens:
            if replaces(token, last.setdefault(owned_by(token), token)):
                last[owned_by(token)] = token
        for token in all_tokens:
            jwt, creator = token["jwts"][0], token["createdBySubject"]
            labels = [
                "bench", control_plane, token["type"], token["tenantName"], token["manifest"]["ownedBy"]["team"],
                creator["subjectSlug"], token["name"], token["id"],
            ]
            created.add_metric(labels, seconds(token["createdAt"]))
            expired.add_metric(labels, token["isExpired"])
            expiry.add_metric(labels, seconds(jwt["expiry"]))
            has_expiry.add_metric(labels, jwt["expiry"] is not None)
            info.add_metric([*labels, creator["subjectType"], jwt["tokenType"]], 1)
            issued.add_metric(labels, seconds(jwt["createdAt"]))
            last_accessed.add_metric(labels, seconds(token["lastAccessedAt"]))
            next_rotation.add_metric(labels, seconds(token["nextScheduledRotation"]))
            replaced.add_metric(labels, replaces(last[owned_by(token)], token))
        return [created, expired, expiry, has_expiry, info, issued, last_accessed, next_rotation, replaced]


def owned_by(token):
    return token["tenantName"], token["createdBySubject"]["subjectId"], token["name"]


def replaces(token, other):
    a, b = token["jwts"][0], other["jwts"][0]
    return seconds(a["createdAt"]) >= seconds(b["createdAt"]) and seconds(a["expiry"]) > seconds(b["expiry"])


def tokens():
    """Reads page after page until one is not full."""
    offset = 0
    while True:
        page = fetch(offset)
        yield from page
        if len(page) < int(page_size):
            return
        offset += len(page)


def fetch(offset):
    request = urllib.request.Request(
        f"{list_url}?limit={page_size}&offset={offset}",
        headers={"Authorization": f"Bearer {api_key}", "Accept-Encoding": "gzip"},
    )
    with urllib.request.urlopen(request) as response:
        body = response.read()
        if response.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
    return json.loads(body)["data"]


def seconds(text):
    return datetime.fromisoformat(text).timestamp()


def usage():
    """Returns the resource usage of this process, in the format of usage in serve.go."""
    resources = resource.getrusage(resource.RUSAGE_SELF)
    peak = 0
    try:
        with open("/proc/self/status") as status:
            peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    except FileNotFoundError:
        pass
    cpu = resources.ru_utime + resources.ru_stime
    return json.dumps({"CPU": round(cpu * 1e9), "PeakRSSKibibytes": peak}).encode()


registry = CollectorRegistry()
registry.register(Collector())
metrics = make_wsgi_app(registry)


def app(environ, start_response):
    if environ["PATH_INFO"] != "/usage":
        return metrics(environ, start_response)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [usage()]


class QuietHandler(WSGIRequestHandler):
    def log_message(self, *_):
        pass


server = make_server("127.0.0.1", 0, app, ThreadingWSGIServer, QuietHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(f"http://127.0.0.1:{server.server_port}", flush=True)
sys.stdin.read()
