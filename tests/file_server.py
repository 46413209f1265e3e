"""A server of one file on this machine."""

from http.server import BaseHTTPRequestHandler


class FileServer(BaseHTTPRequestHandler):
    """A server of one file that understands ranges, and that can break off or answer badly."""

    content = bytes(range(256)) * 2000
    kind = "application/octet-stream"
    ranges = True
    tag: str | None = None
    breaks_after: int | None = None
    asked: tuple[str | None, ...] = ()

    def do_GET(self):
        asked = self.headers.get("Range")
        type(self).asked = (*self.asked, asked)
        if self.path == "/missing":
            self.send_error(404, "Not Found")
            return
        resumes = asked and self.ranges and self.headers.get("If-Range", self.tag) == self.tag
        first = int(asked.removeprefix("bytes=").rstrip("-")) if resumes else 0
        if first >= len(self.content):
            self.send_error(416, "Range Not Satisfiable")
            return
        self.send_response(206 if resumes else 200)
        if resumes:
            self.send_header("Content-Range", f"bytes {first}-{len(self.content) - 1}/{len(self.content)}")
        if self.tag:
            self.send_header("ETag", self.tag)
        self.send_header("Content-Type", self.kind)
        self.send_header("Content-Length", str(len(self.content) - first))
        self.end_headers()
        self.wfile.write(self.content[first:][: self.breaks_after])

    def log_message(self, *arguments):
        pass
