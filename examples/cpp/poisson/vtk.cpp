// SPDX-License-Identifier: MIT OR Apache-2.0
// Unstructured grids of VTK as XML, in text: https://docs.vtk.org has the format.
#include "agreement.hpp"
#include "picture.hpp"

#include <fstream>
#include <limits>
#include <map>
#include <stdexcept>

namespace
{

constexpr int vtk_triangle = 5; // the cell type

std::string piece_name(int rank) { return "poisson_" + std::to_string(rank) + ".vtu"; }

std::string header(const std::string& type)
{
  return "<?xml version=\"1.0\"?>\n<VTKFile type=\"" + type +
         "\" version=\"0.1\" byte_order=\"LittleEndian\" header_type=\"UInt64\">\n";
}

template <class Values, class Print>
void data_array(std::ostream& out, const char* attributes, const Values& values, Print print)
{
  out << "<DataArray " << attributes << " format=\"ascii\">\n";
  for (const auto& value : values)
  {
    print(value);
    out << '\n';
  }
  out << "</DataArray>\n";
}

// The triangles that this rank owns, with their vertices numbered anew.
void write_piece(std::ostream& out, const mesh& domain, const std::vector<double>& u, int rank)
{
  std::map<std::size_t, std::size_t> number;
  std::vector<std::size_t> vertices;
  std::vector<triangle> owned;
  for (const triangle& cell : domain.triangles)
    if (cell.owned)
    {
      owned.push_back(cell);
      for (const std::size_t vertex : cell.vertices)
        if (number.emplace(vertex, vertices.size()).second)
          vertices.push_back(vertex);
    }

  out.precision(std::numeric_limits<double>::max_digits10);
  out << header("UnstructuredGrid") << "<UnstructuredGrid>\n<Piece NumberOfPoints=\"" << vertices.size()
      << "\" NumberOfCells=\"" << owned.size() << "\">\n<PointData Scalars=\"u\">\n";
  data_array(out, R"(type="Float64" Name="u")", vertices, [&](std::size_t v) { out << u[v]; });
  out << "</PointData>\n<CellData>\n";
  data_array(out, R"(type="Int32" Name="rank")", owned, [&](const triangle&) { out << rank; });
  out << "</CellData>\n<Points>\n";
  data_array(out, R"(type="Float64" NumberOfComponents="3")", vertices, [&](std::size_t v) {
    out << domain.coordinates[v][0] << ' ' << domain.coordinates[v][1] << " 0";
  });
  out << "</Points>\n<Cells>\n";
  data_array(out, R"(type="Int64" Name="connectivity")", owned, [&](const triangle& cell) {
    out << number[cell.vertices[0]] << ' ' << number[cell.vertices[1]] << ' ' << number[cell.vertices[2]];
  });
  std::size_t end = 0;
  data_array(out, R"(type="Int64" Name="offsets")", owned, [&](const triangle&) { out << (end += 3); });
  data_array(out, R"(type="UInt8" Name="types")", owned, [&](const triangle&) { out << vtk_triangle; });
  out << "</Cells>\n</Piece>\n</UnstructuredGrid>\n</VTKFile>\n";
}

// Names the pieces.
void write_index(std::ostream& out, int size)
{
  out << header("PUnstructuredGrid") << "<PUnstructuredGrid GhostLevel=\"0\">\n"
      << "<PPointData Scalars=\"u\"><PDataArray type=\"Float64\" Name=\"u\"/></PPointData>\n"
      << "<PCellData><PDataArray type=\"Int32\" Name=\"rank\"/></PCellData>\n"
      << "<PPoints><PDataArray type=\"Float64\" NumberOfComponents=\"3\"/></PPoints>\n";
  for (int rank = 0; rank < size; ++rank)
    out << "<Piece Source=\"" << piece_name(rank) << "\"/>\n";
  out << "</PUnstructuredGrid>\n</VTKFile>\n";
}

template <class Write>
void write_file(const std::string& path, Write write)
{
  std::ofstream out(path);
  write(out);
  out.close();
  if (!out)
    throw std::runtime_error("cannot write " + path);
}

} // namespace

void write_vtk(const std::string& directory, const mesh& domain, const std::vector<double>& u)
{
  int rank = 0, size = 1;
  MPI_Comm_rank(domain.comm, &rank);
  MPI_Comm_size(domain.comm, &size);
  on_every_rank(domain.comm, [&] {
    write_file(directory + '/' + piece_name(rank), [&](std::ostream& out) { write_piece(out, domain, u, rank); });
    if (rank == 0)
      write_file(directory + "/poisson.pvtu", [&](std::ostream& out) { write_index(out, size); });
    return true;
  });
}
