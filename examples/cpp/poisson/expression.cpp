// SPDX-License-Identifier: MIT OR Apache-2.0
#include "expression.hpp"

#include <charconv>
#include <cmath>

namespace
{

expression make(operation kind, std::vector<expression> operands)
{
  return std::make_shared<const expression_node>(expression_node{kind, 0.0, {}, std::move(operands)});
}

bool is_number(const expression& tree) { return tree->kind == operation::number; }
bool is_number(const expression& tree, double value) { return is_number(tree) && tree->value == value; }

// Precedence of an operation, from the loosest to the tightest.
enum binding
{
  of_sum,
  of_product,
  of_sign,
  of_atom,
};

binding binding_of(const expression_node& node)
{
  switch (node.kind)
  {
  case operation::add:
  case operation::subtract: return of_sum;
  case operation::multiply:
  case operation::divide: return of_product;
  case operation::negate: return of_sign;
  case operation::number: return std::signbit(node.value) ? of_sign : of_atom;
  default: return of_atom;
  }
}

std::string literal(double value)
{
  char digits[32];
  const auto [end, failure] = std::to_chars(digits, digits + sizeof digits, value);
  static_cast<void>(failure); // the shortest form of a double has at most 24 characters
  std::string text(digits, end);
  // An integer literal would make 1/2 zero.
  if (text.find_first_of(".e") == std::string::npos)
    text += ".0";
  return text;
}

std::string code(const expression& tree, binding at_least)
{
  const expression_node& node = *tree;
  const auto operand = [&](std::size_t i, binding level) { return code(node.operands[i], level); };
  std::string text;
  switch (node.kind)
  {
  case operation::number: text = literal(node.value); break;
  case operation::name: text = node.name; break;
  case operation::negate: text = "-" + operand(0, of_atom); break;
  case operation::add: text = operand(0, of_sum) + " + " + operand(1, of_product); break;
  case operation::subtract: text = operand(0, of_sum) + " - " + operand(1, of_product); break;
  case operation::multiply: text = operand(0, of_product) + "*" + operand(1, of_sign); break;
  case operation::divide: text = operand(0, of_product) + "/" + operand(1, of_sign); break;
  case operation::call:
    text = node.name + "(" + operand(0, of_sum);
    for (std::size_t i = 1; i < node.operands.size(); ++i)
      text += ", " + operand(i, of_sum);
    text += ")";
    break;
  }
  return binding_of(node) < at_least ? "(" + text + ")" : text;
}

} // namespace

std::string to_code(const expression& tree) { return code(tree, of_sum); }

expression number(double value)
{
  return std::make_shared<const expression_node>(expression_node{operation::number, value, {}, {}});
}

expression negate(const expression& a)
{
  if (is_number(a))
    return number(-a->value);
  if (a->kind == operation::negate)
    return a->operands[0];
  return make(operation::negate, {a});
}

expression add(const expression& a, const expression& b)
{
  if (is_number(a) && is_number(b))
    return number(a->value + b->value);
  if (is_number(a, 0.0))
    return b;
  if (is_number(b, 0.0))
    return a;
  if (b->kind == operation::negate)
    return subtract(a, b->operands[0]);
  return make(operation::add, {a, b});
}

expression subtract(const expression& a, const expression& b)
{
  if (is_number(a) && is_number(b))
    return number(a->value - b->value);
  if (is_number(a, 0.0))
    return negate(b);
  if (is_number(b, 0.0))
    return a;
  if (b->kind == operation::negate)
    return add(a, b->operands[0]);
  return make(operation::subtract, {a, b});
}

expression multiply(const expression& a, const expression& b)
{
  if (is_number(a) && is_number(b))
    return number(a->value * b->value);
  if (is_number(a, 0.0) || is_number(b, 0.0))
    return number(0.0);
  if (is_number(a, 1.0))
    return b;
  if (is_number(b, 1.0))
    return a;
  if (a->kind == operation::negate)
    return negate(multiply(a->operands[0], b));
  if (b->kind == operation::negate)
    return negate(multiply(a, b->operands[0]));
  return make(operation::multiply, {a, b});
}

expression divide(const expression& a, const expression& b)
{
  if (is_number(a) && is_number(b) && b->value != 0.0)
    return number(a->value / b->value);
  if (is_number(a, 0.0) && !is_number(b))
    return number(0.0);
  if (is_number(b, 1.0))
    return a;
  return make(operation::divide, {a, b});
}

expression power_of(const expression& base, const expression& exponent)
{
  if (is_number(exponent, 0.0))
    return number(1.0);
  if (is_number(exponent, 1.0))
    return base;
  return call("pow", {base, exponent});
}

expression call(const std::string& function, std::vector<expression> arguments)
{
  return std::make_shared<const expression_node>(expression_node{operation::call, 0.0, function, std::move(arguments)});
}
