#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# identity.py PORT_FILE: an OpenStack identity service that lets anybody in, on the loopback: packer's openstack builder asks for a token even when it only validates. Used by packer/test.
import http.server
import json
import sys


class Identity(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(min(int(self.headers.get("Content-Length", 0)), 1 << 20))
        if self.path != "/v3/auth/tokens":
            self.send_error(404)
            return
        here = f"http://127.0.0.1:{self.server.server_port}"
        catalog = [
            {"type": kind, "name": kind, "id": kind, "endpoints": [{"id": kind, "interface": "public", "region": "RegionOne", "region_id": "RegionOne", "url": f"{here}/{kind}"}]}
            for kind in ("compute", "image", "network", "volumev3", "identity")
        ]
        user = {"id": "u", "name": "u", "domain": {"id": "default", "name": "Default"}}
        body = json.dumps({"token": {"methods": ["password"], "user": user, "catalog": catalog, "issued_at": "2020-01-01T00:00:00.000000Z", "expires_at": "2099-01-01T00:00:00.000000Z"}}).encode()
        self.send_response(201)
        self.send_header("X-Subject-Token", "none")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


server = http.server.HTTPServer(("127.0.0.1", 0), Identity)
with open(sys.argv[1], "w", encoding="ascii") as file:
    file.write(str(server.server_port))
server.serve_forever()
