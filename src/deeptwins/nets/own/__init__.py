"""Nets of one's own, `family = "package.module:function"`: how they are made, and which initial weights they get."""
