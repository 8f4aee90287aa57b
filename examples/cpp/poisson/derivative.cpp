// SPDX-License-Identifier: MIT OR Apache-2.0
#include "derivative.hpp"

#include <utility>

namespace
{

// Returns d/du of a function of one argument u.
expression outer_derivative(const std::string& function, const expression& u)
{
  if (function == "sin")
    return call("cos", {u});
  if (function == "cos")
    return negate(call("sin", {u}));
  if (function == "tan")
    return divide(number(1.0), power_of(call("cos", {u}), number(2.0)));
  if (function == "exp")
    return call("exp", {u});
  if (function == "log")
    return divide(number(1.0), u);
  if (function == "sqrt")
    return divide(number(0.5), call("sqrt", {u}));
  if (function == "sinh")
    return call("cosh", {u});
  if (function == "cosh")
    return call("sinh", {u});
  if (function == "tanh")
    return divide(number(1.0), power_of(call("cosh", {u}), number(2.0)));
  if (function == "atan")
    return divide(number(1.0), add(number(1.0), multiply(u, u)));
  throw expression_error("no derivative is known for " + function);
}

expression power_derivative(const expression& base, const expression& exponent, const std::string& variable)
{
  const expression whole = power_of(base, exponent);
  const expression base_slope = differentiate(base, variable);
  const expression exponent_slope = differentiate(exponent, variable);
  // The logarithm of the general rule must not appear for x^2, which is smooth where x is negative.
  const expression through_base =
      multiply(multiply(exponent, power_of(base, subtract(exponent, number(1.0)))), base_slope);
  if (exponent_slope->kind == operation::number && exponent_slope->value == 0.0)
    return through_base;
  return add(through_base, multiply(multiply(whole, call("log", {base})), exponent_slope));
}

} // namespace

expression differentiate(const expression& tree, const std::string& variable)
{
  const auto& operands = tree->operands;
  const auto slope = [&](std::size_t i) { return differentiate(operands[i], variable); };
  switch (tree->kind)
  {
  case operation::number: return number(0.0);
  case operation::name: return number(tree->name == variable ? 1.0 : 0.0);
  case operation::negate: return negate(slope(0));
  case operation::add: return add(slope(0), slope(1));
  case operation::subtract: return subtract(slope(0), slope(1));
  case operation::multiply: return add(multiply(slope(0), operands[1]), multiply(operands[0], slope(1)));
  case operation::divide:
    return subtract(divide(slope(0), operands[1]),
                    divide(multiply(operands[0], slope(1)), multiply(operands[1], operands[1])));
  case operation::call: break;
  }
  if (tree->name == "pow")
    return power_derivative(operands[0], operands[1], variable);
  return multiply(outer_derivative(tree->name, operands[0]), slope(0));
}

expression manufactured_source(const expression& kappa, const expression& exact)
{
  const auto term = [&](const std::string& variable) {
    return differentiate(multiply(kappa, differentiate(exact, variable)), variable);
  };
  return negate(add(term("x"), term("y")));
}
