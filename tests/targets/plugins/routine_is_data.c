/* The name is there, and it is no function. */
int MiniDumpCallbackRoutine[64] = {1};
