// The stateful-goroutines workload: one goroutine owns a map; 100 readers and 10 writers send it requests for 5 keys through
// channels, each with a channel for the answer, and count the answers of a second. All in one process, without a network.
//
// It comes from the page "Stateful Goroutines" of Go by Example (gobyexample.com/stateful-goroutines), where each worker pauses
// for a millisecond after every operation. Here workers pause only with -sleep.
package main

import (
	"flag"
	"fmt"
	"math/rand"
	"sync/atomic"
	"time"
)

const (
	readers = 100
	writers = 10
	keys    = 5
	values  = 100
)

type readOp struct {
	key  int
	resp chan int
}

type writeOp struct {
	key  int
	val  int
	resp chan bool
}

// own owns the map: no other goroutine touches it.
func own(reads <-chan readOp, writes <-chan writeOp) {
	state := make(map[int]int)
	for {
		select {
		case read := <-reads:
			read.resp <- state[read.key]
		case write := <-writes:
			state[write.key] = write.val
			write.resp <- true
		}
	}
}

func main() {
	sleep := flag.Bool("sleep", false, "pause for a millisecond after every operation")
	duration := flag.Duration("duration", time.Second, "run for this long")
	flag.Parse()

	var readOps, writeOps atomic.Uint64
	reads := make(chan readOp)
	writes := make(chan writeOp)
	go own(reads, writes)

	for range readers {
		go func() {
			for {
				read := readOp{key: rand.Intn(keys), resp: make(chan int)}
				reads <- read
				<-read.resp
				readOps.Add(1)
				if *sleep {
					time.Sleep(time.Millisecond)
				}
			}
		}()
	}
	for range writers {
		go func() {
			for {
				write := writeOp{key: rand.Intn(keys), val: rand.Intn(values), resp: make(chan bool)}
				writes <- write
				<-write.resp
				writeOps.Add(1)
				if *sleep {
					time.Sleep(time.Millisecond)
				}
			}
		}()
	}

	time.Sleep(*duration)
	fmt.Println("readOps:", readOps.Load())
	fmt.Println("writeOps:", writeOps.Load())
}
