// The seed of this project, to be measured beside it: one goroutine owns a map, and a hundred readers and ten writers send
// it requests through channels, each with a channel for its answer. All in one process, without a network.
//
// Readers and writers go on at once. With -sleep each waits a millisecond after every operation, as in the lesson that
// this comes from ("Stateful Goroutines" of Go by Example).
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

// own is the only one that touches the state.
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
	sleep := flag.Bool("sleep", false, "wait a millisecond after every operation")
	duration := flag.Duration("duration", time.Second, "how long to run")
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
