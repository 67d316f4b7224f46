"""Pages as their readers have them: a browser's tags and text, Markdown, the rows of its tables."""

import re
from html import unescape
from html.parser import HTMLParser

from places import ROOT


class Outline(HTMLParser):
    """Tags with their attributes, and all text, of HTML."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        """Remember a tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        """Remember text."""
        self.text += data

    def names(self):
        """List the names of all tags."""
        return [tag for tag, _ in self.tags]

    def links(self):
        """List what tags refer to."""
        return [value for _, attrs in self.tags for key, value in attrs.items() if key in {"href", "src"}]


def html(written):
    """Read a page that was written."""
    return written.page.read_text(encoding="utf-8")


def markdown(written):
    """Read a page that was written, as Markdown."""
    return written.page.with_name("report.md").read_text(encoding="utf-8")


def rows(markdown):
    """List the rows of all tables, cells between bars."""
    return [re.sub(r"\s*\|\s*", "|", line).strip("|") for line in markdown.splitlines() if line.startswith("|")]


def titles(text):
    """List the descriptions of all figures in HTML or SVG: what they show in words."""
    return re.findall(r"<desc id=[^>]*>([^<]*)</desc>", text)


def told(text):
    """List what a pointer shows of the marks of all figures in HTML or SVG."""
    return [unescape(words) for words in re.findall(r"<(?:circle|rect|path) [^>]*><title>([^<]*)</title>", text)]


def documented_keys(command):
    """List, sorted, the keys that the architecture says a command prints with --json, at any depth it tells of."""
    architecture = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| `{command}` \| (.*) \|$", architecture, re.MULTILINE)
    return sorted(re.findall("`([a-z_0-9]+)`", row))
