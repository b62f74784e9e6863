package soloist

// With a real server, which is killed meanwhile. SOLOIST_SERVER_BINARY says where it is.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "soloist/v1"
)

type server struct {
	*testing.T
	folder, address string
	process         *exec.Cmd
}

func startServer(t *testing.T) (*server, *Client, context.Context) {
	server := &server{t, t.TempDir(), "127.0.0.1:0", nil}
	server.start()
	t.Cleanup(server.kill)
	client, err := Connect(server.address, grpc.WithInsecure())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return server, client, ctx
}

func (server *server) start() {
	binary := os.Getenv("SOLOIST_SERVER_BINARY")
	if binary == "" {
		binary = "../../target/release/soloist-server"
	}
	process := exec.Command(binary, "--listen", server.address, "--data-dir", server.folder+"/store", "--log", "error")
	process.Stderr = os.Stderr
	output, err := process.StdoutPipe()
	if err == nil {
		err = process.Start()
	}
	if err != nil {
		server.Fatal(err)
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		server.Fatal(err)
	}
	server.address = strings.TrimSpace(strings.TrimPrefix(line, "listening on "))
	server.process = process
}

func (server *server) kill() {
	server.process.Process.Kill()
	server.process.Wait()
}

func (server *server) restart() {
	server.kill()
	server.start()
}

func text(text string) *pb.Value {
	return &pb.Value{Kind: &pb.Value_Text{Text: text}}
}

func write(ctx context.Context, client *Client, key, value string) error {
	request := &pb.WriteRequest{Key: key, Value: text(value), RequestId: NewID()}
	return Retry(ctx, func(ctx context.Context) error {
		_, err := client.State.Write(ctx, request)
		return err
	})
}

func TestAnErrorNamesItsReason(t *testing.T) {
	_, client, ctx := startServer(t)
	missing := &pb.Condition{Test: &pb.Condition_Exists{Exists: false}}
	request := &pb.WriteRequest{Key: "a", Value: text("x"), Expect: missing}
	if _, err := client.State.Write(ctx, request); err != nil {
		t.Fatal(err)
	}
	err := Retry(ctx, func(ctx context.Context) error {
		_, err := client.State.Write(ctx, request)
		return err
	})
	if Reason(err) != "KEY_EXISTS" || Info(err).Metadata["revision"] != "1" {
		t.Fatal(err, Info(err))
	}
}

func TestCallsGoOnOverAKillAndAreAppliedOnce(t *testing.T) {
	server, client, ctx := startServer(t)
	var sum int64
	for call := 1; call <= 60; call++ {
		if call%20 == 10 {
			server.restart()
		}
		request := &pb.AddRequest{Key: "n", Delta: 1, RequestId: NewID()}
		err := Retry(ctx, func(ctx context.Context) error {
			added, err := client.State.Add(ctx, request)
			sum = added.GetValue()
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if sum != 60 {
		t.Fatal(sum)
	}
}

func TestAConfigurationIsFollowedOverAKill(t *testing.T) {
	server, client, ctx := startServer(t)
	colors := []string{"red", "green", "blue", "white"}
	if err := write(ctx, client, "config/color", colors[0]); err != nil {
		t.Fatal(err)
	}
	var seen []string
	errAll := errors.New("all are seen")
	request := &pb.WatchRequest{Target: &pb.WatchRequest_Prefix{Prefix: "config/"}, Initial: true}
	err := client.Watch(ctx, request, func(message *pb.WatchResponse) error {
		for _, event := range message.Events {
			seen = append(seen, event.Entry.Value.GetText())
		}
		if len(message.Events) == 0 {
			return nil
		}
		if len(seen) == len(colors) {
			return errAll
		}
		if len(seen) == 2 {
			server.restart()
		}
		return write(ctx, client, "config/color", colors[len(seen)])
	})
	if err != errAll || !reflect.DeepEqual(seen, colors) {
		t.Fatal(err, seen)
	}
}

func TestALockHasTurnsInOrderOverAKill(t *testing.T) {
	server, client, ctx := startServer(t)
	var waiting sync.WaitGroup
	var turns []string
	inside := make(chan struct{}, 1)
	last := int64(0)
	take := func(number int) {
		defer waiting.Done()
		err := client.WithLock(ctx, "locks/printer", 5*time.Second, func(ctx context.Context, token int64) error {
			select {
			case inside <- struct{}{}:
			default:
				t.Error("somebody else has the lock")
			}
			if token <= last {
				t.Error("the token has not grown", last, token)
			}
			last = token
			turns = append(turns, fmt.Sprint(number))
			if number == 2 {
				server.restart()
			}
			<-inside
			return ctx.Err()
		})
		if err != nil {
			t.Error(number, err)
		}
	}
	places := func() int {
		var page *pb.ListResponse
		err := Retry(ctx, func(ctx context.Context) (err error) {
			page, err = client.State.List(ctx, &pb.ListRequest{Prefix: "locks/printer/"})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return len(page.Entries)
	}
	err := client.WithLock(ctx, "locks/printer", 5*time.Second, func(context.Context, int64) error {
		for number := 0; number < 5; number++ {
			waiting.Add(1)
			go take(number)
			// Until it has its place.
			for places() < number+2 {
			}
		}
		return nil
	})
	waiting.Wait()
	if order := strings.Join(turns, " "); err != nil || order != "0 1 2 3 4" {
		t.Fatal(err, order)
	}
}

func TestALockThatIsLostEndsItsContext(t *testing.T) {
	_, client, ctx := startServer(t)
	err := client.WithLock(ctx, "locks/lost", time.Second, func(held context.Context, _ int64) error {
		page, err := client.State.List(ctx, &pb.ListRequest{Prefix: "locks/lost/"})
		if err != nil {
			return err
		}
		id := strings.TrimPrefix(page.Entries[0].Key, "locks/lost/")
		take := &pb.OpenSessionRequest{Id: id, TakeOver: true, Ttl: durationpb.New(10 * time.Second)}
		if _, err := client.Sessions.OpenSession(ctx, take); err != nil {
			return err
		}
		<-held.Done()
		return held.Err()
	})
	if Reason(err) != "SESSION_TAKEN_OVER" {
		t.Fatal(err)
	}
}
