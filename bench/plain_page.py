"""The plainest page that Flask can make: what the captive page is compared with."""

from flask import Flask

app = Flask(__name__)


@app.get("/")
def page() -> str:
    return "<!doctype html><title>Hotspot</title><h1>Sign in</h1>"
