// SPDX-License-Identifier: MIT OR Apache-2.0
// Something to look at: the solution and the mesh as SVG, and files for ParaView.
#pragma once

#include "mesh.hpp"

#include <string>
#include <vector>

// The largest number of squares per side that is drawn: an SVG has a shape for each triangle.
constexpr int finest_picture = 128;

// What is written above the picture.
struct caption
{
  std::string title, subtitle;
};

// Writes poisson.svg: the solution as bands of colour with a scale, the mesh, and the parts of the ranks. The ghosts of u must be
// up to date. Throws agreed_error on every rank if rank 0 cannot write. Collective over the communicator of the mesh.
void write_svg(const std::string& directory, const caption& text, const mesh& domain, const std::vector<double>& u);

// Writes poisson.pvtu, and a file poisson_RANK.vtu for each rank with its triangles: u at the vertices, the rank of each triangle.
// Throws agreed_error on every rank if one cannot write. Collective over the communicator of the mesh.
void write_vtk(const std::string& directory, const mesh& domain, const std::vector<double>& u);
