#!/usr/bin/env python3
"""Asks a health endpoint once: prints one line, ends with 0 when it is healthy, else with 1.

Usage: check.py [URL]      http://localhost:8000/health unless given.
Python 3.7 or newer, and nothing but its standard library.
"""

import json
import sys
import urllib.error
import urllib.request

# Longer than HEALTH_TIMEOUT_MS, or the reason is never read.
TIMEOUT_SECONDS = 5


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


# Neither a proxy of the environment nor another address may answer for the server.
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirect)


def ask(url):
    """The status, and the JSON that came with it. urllib raises what is not 2xx: that is an answer, too."""
    try:
        response = opener.open(url, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        return response.getcode(), json.loads(response.read(65536))


def check(url):
    """Whether it is healthy, and a line that says so."""
    try:
        status, answer = ask(url)
        if status == 200 and answer.get("status") == "healthy":
            return True, "✓ API is healthy"
        if answer.get("status") == "unhealthy":
            return False, f"✗ API unhealthy: {answer.get('error')}"
        return False, f"✗ Health check failed: HTTP {status}, not the answer of a health endpoint"
    except Exception as error:  # Whatever it was, nothing healthy was found.
        return False, f"✗ Health check failed: {error or type(error).__name__}"


def main():
    healthy, line = check(*sys.argv[1:2] or ["http://localhost:8000/health"])
    # Cron's locale may not know the marks; and no terminal must obey what a server sent.
    sys.stdout.reconfigure(encoding="utf-8")
    print("".join(character for character in line if character.isprintable())[:200])
    return 0 if healthy else 1


if __name__ == "__main__":
    sys.exit(main())
