"""HTTP/1.1 as the native core speaks it: it splits, answers what is common, hands over the rest."""

from mpserve._native import Exchange, HttpConnection, HttpServerConfig

__all__ = ["Exchange", "HttpConnection", "HttpServerConfig"]
