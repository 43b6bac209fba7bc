"""Polynomials with non-negative factors in named axes: sizes of tensors whose shapes vary."""

import ast
from collections.abc import Iterable, Mapping
from fractions import Fraction
from math import prod

Polynomial = dict[tuple[str, ...], Fraction]
"""Products of names, sorted, to factors; the empty product is the constant."""


def parse(dimension: int | str, symbols: Mapping[str, Polynomial]) -> Polynomial:
    """A dimension: a number, or an expression in `symbols` as torch.export writes it. A floor division rounds up.

    Raises:
        RuntimeError: the expression has other operators than + - * //, or other names.
    """
    if isinstance(dimension, int):
        return {(): Fraction(dimension)}
    return _evaluate(ast.parse(dimension, mode="eval").body, symbols)


def _evaluate(node: ast.expr, symbols: Mapping[str, Polynomial]) -> Polynomial:
    match node:
        case ast.Constant(value=int(number)):
            return {(): Fraction(number)}
        case ast.Name(id=name) if name in symbols:
            return dict(symbols[name])
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return scaled(_evaluate(operand, symbols), Fraction(-1))
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return total([_evaluate(left, symbols), _evaluate(right, symbols)])
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return total([_evaluate(left, symbols), scaled(_evaluate(right, symbols), Fraction(-1))])
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return product([_evaluate(left, symbols), _evaluate(right, symbols)])
        case ast.BinOp(left=left, op=ast.FloorDiv(), right=ast.Constant(value=int(number))):
            return scaled(_evaluate(left, symbols), Fraction(1, number))
    raise RuntimeError(f"a dimension is {ast.unparse(node)!r}, which is no polynomial in {', '.join(symbols)}")


def names_in(dimension: str) -> list[str]:
    """The symbols of an expression."""
    return [node.id for node in ast.walk(ast.parse(dimension, mode="eval")) if isinstance(node, ast.Name)]


def product(factors: Iterable[Polynomial]) -> Polynomial:
    """Their product; of none, 1."""
    result: Polynomial = {(): Fraction(1)}
    for factor in factors:
        terms: Polynomial = {}
        for (left, a), (right, b) in ((x, y) for x in result.items() for y in factor.items()):
            names = tuple(sorted(left + right))
            terms[names] = terms.get(names, Fraction(0)) + a * b
        result = terms
    return {names: factor for names, factor in result.items() if factor}


def total(terms: Iterable[Polynomial]) -> Polynomial:
    """Their sum."""
    result: Polynomial = {}
    for term in terms:
        for names, factor in term.items():
            result[names] = result.get(names, Fraction(0)) + factor
    return {names: factor for names, factor in result.items() if factor}


def scaled(polynomial: Polynomial, factor: Fraction) -> Polynomial:
    """Every term times a number."""
    return {names: value * factor for names, value in polynomial.items()}


def value(polynomial: Polynomial, axes: Mapping[str, int]) -> float:
    """The polynomial where the axes have these sizes."""
    return sum(float(factor) * prod(axes[name] for name in names) for names, factor in polynomial.items())


def covers(larger: Polynomial, smaller: Polynomial) -> bool:
    """Whether the one is at least the other for every axis from 0 up, term by term."""
    names = larger.keys() | smaller.keys()
    return all(larger.get(name, Fraction(0)) >= smaller.get(name, Fraction(0)) for name in names)


def named(polynomial: Polynomial) -> dict[str, float]:
    """As a manifest holds it: "height*width" -> factor."""
    return {"*".join(names): float(factor) for names, factor in sorted(polynomial.items())}
