/* The symbol that the libraries "needy" of matrix.c need. */
int provided_46(void);

int provided_46(void)
{
    return 46;
}
