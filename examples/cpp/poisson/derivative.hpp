// SPDX-License-Identifier: MIT OR Apache-2.0
// Derivatives of expressions, and the source term of a manufactured solution.
#pragma once

#include "expression.hpp"

// Returns the derivative of `tree` with respect to "x" or "y".
expression differentiate(const expression& tree, const std::string& variable);

// Returns f = -div(kappa grad u) for u = exact.
expression manufactured_source(const expression& kappa, const expression& exact);
