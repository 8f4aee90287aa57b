// SPDX-License-Identifier: MIT OR Apache-2.0
// Expressions in x and y, as trees. Generated code contains only what the parser has accepted, never text that a user typed.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

struct expression_node;

// Never null and never changed, so trees may share parts.
using expression = std::shared_ptr<const expression_node>;

enum class operation
{
  number,   // value
  name,     // "x", "y" or "pi"
  negate,   // operands[0]
  add,      // operands[0] + operands[1], likewise the next three
  subtract,
  multiply,
  divide,
  call, // name(operands...)
};

struct expression_node
{
  operation kind;
  double value;
  std::string name;
  std::vector<expression> operands;
};

// Thrown by the parser. The text says what is wrong and points at the place.
class expression_error : public std::runtime_error
{
public:
  using std::runtime_error::runtime_error;
};

// Reads numbers, x, y, pi, + - * / ^, parentheses, and the functions sin cos tan exp log sqrt sinh cosh tanh atan pow(a, b).
// Throws expression_error for anything else.
expression parse(std::string_view text);

// Returns the expression as C++ text in which every number is a double: `1/2*x` gives "0.5*x". Equal expressions give equal text.
std::string to_code(const expression& tree);

// Build expressions. Constants are folded and neutral elements dropped, which keeps derivatives short.
expression number(double value);
expression negate(const expression& a);
expression add(const expression& a, const expression& b);
expression subtract(const expression& a, const expression& b);
expression multiply(const expression& a, const expression& b);
expression divide(const expression& a, const expression& b);
expression power_of(const expression& base, const expression& exponent);
expression call(const std::string& function, std::vector<expression> arguments);
