#!/usr/bin/env python3
"""Asks a health endpoint once: prints one line, exits with 0 if it is healthy, otherwise with 1.

Usage: check.py [URL]      the default URL is http://localhost:8000/health
Needs Python 3.7 or newer and only its standard library.
"""

import json
import sys
import urllib.error
import urllib.request

# Longer than HEALTH_TIMEOUT_MS, so that the reason arrives in time.
TIMEOUT_SECONDS = 5


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


# Neither a proxy from the environment nor a redirect may answer in place of the server.
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirect)


def ask(url):
    """Returns the status and the parsed JSON. urllib raises for any status but 2xx; that is an answer as well."""
    try:
        response = opener.open(url, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        return response.getcode(), json.loads(response.read(65536))


def check(url):
    """Returns whether it is healthy, and a line that says so."""
    try:
        status, answer = ask(url)
        if status == 200 and answer.get("status") == "healthy":
            return True, "✓ API is healthy"
        if answer.get("status") == "unhealthy":
            return False, f"✗ API unhealthy: {answer.get('error')}"
        return False, f"✗ Health check failed: HTTP {status}, not the answer of a health endpoint"
    except Exception as error:  # Whatever went wrong, it is not healthy.
        return False, f"✗ Health check failed: {error or type(error).__name__}"


def main():
    healthy, line = check(*sys.argv[1:2] or ["http://localhost:8000/health"])
    # Cron's locale may lack the two marks. Unprintable characters could control the terminal: drop them.
    sys.stdout.reconfigure(encoding="utf-8")
    print("".join(character for character in line if character.isprintable())[:200])
    return 0 if healthy else 1


if __name__ == "__main__":
    sys.exit(main())
