// Soloist from Go, to copy: a connection, calls that are sent again where that is safe, and errors with their reasons.
package soloist

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"math/big"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	pb "soloist/v1"
)

// Client has the calls of a server.
type Client struct {
	connection *grpc.ClientConn
	State      pb.StateClient
	Sessions   pb.SessionsClient
	Admin      pb.AdminClient
}

// Connect returns at once; the calls find out whether there is a server. The options say how: grpc.WithInsecure(), or
// grpc.WithTransportCredentials for TLS.
func Connect(target string, options ...grpc.DialOption) (*Client, error) {
	// A server that is gone without a word is noticed after 30 s, also by a watch.
	pings := keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}
	// And one that is back, soon.
	again := grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: 5 * time.Second}
	again.Backoff.BaseDelay, again.Backoff.MaxDelay = 100*time.Millisecond, 2*time.Second
	options = append(options, grpc.WithKeepaliveParams(pings), grpc.WithConnectParams(again))
	connection, err := grpc.Dial(target, options...)
	if err != nil {
		return nil, err
	}
	return &Client{
		connection,
		pb.NewStateClient(connection),
		pb.NewSessionsClient(connection),
		pb.NewAdminClient(connection),
	}, nil
}

// Close ends the connection.
func (client *Client) Close() error {
	return client.connection.Close()
}

// Info returns why the server refused a call: its Reason is a name of soloist.v1.Error.Reason, such as KEY_EXISTS, and its
// Metadata has the details. Nil if the error does not come from the server itself.
func Info(err error) *errdetails.ErrorInfo {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.Domain == "soloist.v1" {
			return info
		}
	}
	return nil
}

// Reason returns the reason of an error, and "" if it has none.
func Reason(err error) string {
	return Info(err).GetReason()
}

// passes tells whether the cause of an error passes by itself.
func passes(err error) bool {
	switch Reason(err) {
	case "OVERLOADED", "NOT_STARTED", "NOT_CONFIRMED", "OUTCOME_UNKNOWN", "DRAINING", "OWNER_LOST", "NOT_OWNER":
		return true
	case "":
		code := status.Code(err)
		return code == codes.Unavailable || code == codes.DeadlineExceeded
	}
	return false
}

// Retry makes a call again until it succeeds, fails for good, or the context ends. The call must be one that may be sent twice:
// one that only reads, or a change whose request_id is the same each time (see NewID).
func Retry(ctx context.Context, call func(context.Context) error) error {
	for bound := 20 * time.Millisecond; ; bound = min(2*bound, time.Second) {
		err := call(ctx)
		if err == nil || !passes(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(retryDelay(err) + random(bound)):
		}
	}
}

// retryDelay is how long the server asks its clients to wait.
func retryDelay(err error) time.Duration {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return info.GetRetryDelay().AsDuration()
		}
	}
	return 0
}

// NewID makes a request_id, or the id of a session.
func NewID() string {
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		panic(err)
	}
	return hex.EncodeToString(id)
}

func random(bound time.Duration) time.Duration {
	number, err := rand.Int(rand.Reader, big.NewInt(int64(bound)))
	if err != nil {
		panic(err)
	}
	return time.Duration(number.Int64())
}

func min(a, b time.Duration) time.Duration {
	if a < b {
		return a
	}
	return b
}
