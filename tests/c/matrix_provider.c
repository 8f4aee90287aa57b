/* What the libraries called "needy" in matrix.c need to load. */
int provided_46(void);

int provided_46(void)
{
    return 46;
}
