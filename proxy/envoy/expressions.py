"""Conditions in the Common Expression Language, as the syntax tree Envoy's RBAC filter wants.

Envoy 1.40 takes no expression *text* in a matcher (``cel_expr_string`` is answered with "not
set"), so these few functions make the tree of ``cel.expr.Expr`` in its JSON form. A missing field
makes Envoy's evaluation an error, and an error matches nothing: write conditions so that matching
is what lets somebody in.
"""

from functools import reduce
from typing import Any

Expression = dict[str, Any]


def text(value: str) -> Expression:
    return {"const_expr": {"string_value": value}}


def field(first: str, *path: str) -> Expression:
    """``first.second.third``."""
    start: Expression = {"ident_expr": {"name": first}}
    return reduce(lambda at, name: {"select_expr": {"operand": at, "field": name}}, path, start)


def item(of: Expression, *keys: str) -> Expression:
    """``of["first"]["second"]``."""
    return reduce(lambda at, key: _call("_[_]", at, text(key)), keys, of)


def equal(left: Expression, right: Expression) -> Expression:
    return _call("_==_", left, right)


def negate(operand: Expression) -> Expression:
    return _call("!_", operand)


def every(*operands: Expression) -> Expression:
    """``a && b && …``."""
    return reduce(lambda left, right: _call("_&&_", left, right), operands)


def either(*operands: Expression) -> Expression:
    """``a || b || …``."""
    return reduce(lambda left, right: _call("_||_", left, right), operands)


def contains(key: str, mapping: Expression) -> Expression:
    """``key in mapping``."""
    return _call("@in", text(key), mapping)


def starts_with(operand: Expression, prefix: Expression) -> Expression:
    return {"call_expr": {"target": operand, "function": "startsWith", "args": [prefix]}}


def predicate(condition: Expression) -> dict[str, Any]:
    """The condition as a ``single_predicate`` of a matcher."""
    return {
        "single_predicate": {
            "input": {
                "name": "request",
                "typed_config": {
                    "@type": "type.googleapis.com/xds.type.matcher.v3.HttpAttributesCelMatchInput"
                },
            },
            "custom_match": {
                "name": "condition",
                "typed_config": {
                    "@type": "type.googleapis.com/xds.type.matcher.v3.CelMatcher",
                    "expr_match": {"cel_expr_parsed": {"expr": _numbered(condition)}},
                },
            },
        }
    }


def _call(function: str, *arguments: Expression) -> Expression:
    return {"call_expr": {"function": function, "args": list(arguments)}}


def _numbered(condition: Expression) -> Expression:
    """Give every node the unique id that the evaluator wants, in order of appearance."""
    count = 0

    def visit(node: Any) -> Any:
        nonlocal count
        if isinstance(node, list):
            return [visit(child) for child in node]
        if not isinstance(node, dict):
            return node
        count += 1 if any(key.endswith("_expr") for key in node) else 0
        marked = {"id": count} if any(key.endswith("_expr") for key in node) else {}
        return marked | {key: visit(child) for key, child in node.items()}

    return visit(condition)  # type: ignore[no-any-return]
