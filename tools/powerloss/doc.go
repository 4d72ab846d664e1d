// Command powerloss takes the power from a running storage engine again and
// again and looks at what is left. As root on Linux:
//
//	go run ./tools/powerloss -rounds 20
//
// A child process runs the engine on a file system of its own, on a loop device,
// and says on a pipe what it proposes and what was acknowledged. At a random
// moment the file system is shut down as if the power had failed
// (FS_IOC_SHUTDOWN): what was not synced is gone. The next child opens what is
// left and says what it finds; the parent compares.
//
//	plan       when the power fails in which life, from a seed
//	child      the engine, its machine and its proposers, in a process of its own
//	protocol   the lines a child says; ears hear them
//	model      what must be there, what may be there; finds what is wrong
//	disk       loop device, file system, shutdown
//	life       one child from its start to its end
//	round      lives on one file system; controls that must be caught; failing disks
//	report     what came of it
//
// It refuses to know how the engine stores anything: it judges by what was
// acknowledged and what a reader gets.
package main
