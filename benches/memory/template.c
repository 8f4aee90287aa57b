/* The smallest module that is worth loading. */
int value(void);
int value(void)
{
    return 42;
}
