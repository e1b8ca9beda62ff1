/* The name is there, and it is not a function. */
int MiniDumpCallbackRoutine[64] = {1};
