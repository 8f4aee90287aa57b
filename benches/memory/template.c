/* The smallest useful module. */
int value(void);
int value(void)
{
    return 42;
}
