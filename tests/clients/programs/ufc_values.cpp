// SPDX-License-Identifier: MIT OR Apache-2.0
// Calls the C++ objects that FFC generates, for programs that have no DOLFIN.
#include <algorithm>
#include <cmath>
#include <memory>
#include <ufc.h>
#include <vector>

extern "C" void ufc_values(const ufc::form *form, double *values)
{
    // One cell, neither regular nor of unit size, in as many dimensions as the form has.
    const double triangle[] = {0.1, 0.2, 1.3, 0.1, 0.4, 0.9};
    const double tetrahedron[] = {0.1, 0.2, 0.0, 1.3, 0.1, 0.1, 0.4, 0.9, 0.2, 0.3, 0.2, 1.1};
    const std::size_t arguments = form->rank(), coefficients = form->num_coefficients();
    std::size_t size = 1;
    int dimension = 0;
    for (std::size_t i = 0; i < arguments + coefficients; ++i) {
        std::unique_ptr<ufc::finite_element> element(form->create_finite_element(i));
        dimension = static_cast<int>(element->geometric_dimension());
        if (i < arguments)
            size *= element->space_dimension();
    }
    // No element has more than 60 degrees of freedom here. The values are small, so that the determinant stays positive.
    std::vector<std::vector<double>> w(coefficients, std::vector<double>(60));
    std::vector<const double *> pointers;
    for (std::size_t i = 0; i < coefficients; ++i) {
        for (std::size_t j = 0; j < w[i].size(); ++j)
            w[i][j] = 0.01 * static_cast<double>(i + 1) * std::sin(static_cast<double>(j + 1));
        pointers.push_back(w[i].data());
    }
    std::vector<double> tensor(size);
    std::unique_ptr<ufc::cell_integral> integral(form->create_default_cell_integral());
    integral->tabulate_tensor(tensor.data(), pointers.data(), dimension == 2 ? triangle : tetrahedron, 0);
    values[0] = static_cast<double>(arguments);
    values[1] = static_cast<double>(coefficients);
    values[2] = values[3] = 0.0;
    for (std::size_t i = 0; i < size; ++i) {
        values[2] += tensor[i] * std::cos(static_cast<double>(i));
        values[3] += tensor[i] * tensor[i];
    }
}
