int graft_isdigit(int c);
int graft_isdigit(int c)
{
	return c >= '0' && c <= '9';
}
