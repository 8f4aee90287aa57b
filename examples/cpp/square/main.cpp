#include <dijitso.hpp>
#include <iostream>

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    {
        auto library = dijitso::jit_source(
            "square", "extern \"C\" double square(double x) { return x * x; }\n", MPI_COMM_WORLD);
        std::cout << library.symbol<double(double)>("square")(3.0) << '\n';
    }
    MPI_Finalize();
}
