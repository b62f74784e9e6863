package soloist

import (
	"context"
	"fmt"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "soloist/v1"
)

// Watch calls each with every message of a watch, until each returns an error or the context ends, and returns that error. It goes
// on after a break: each change comes once. It also ends when the server cannot go on where the watch broke; then begin anew with
// Initial.
func (client *Client) Watch(ctx context.Context, request *pb.WatchRequest, each func(*pb.WatchResponse) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	request = proto.Clone(request).(*pb.WatchRequest)
	// Revisions of another store cannot be compared: the server refuses to go on there.
	err := Retry(ctx, func(ctx context.Context) error {
		info, err := client.Admin.GetInfo(ctx, &pb.GetInfoRequest{})
		request.StoreId = info.GetStoreId()
		return err
	})
	if err != nil {
		return err
	}
	var ended error
	err = Retry(ctx, func(ctx context.Context) error {
		stream, err := client.State.Watch(ctx, request)
		if err != nil {
			return err
		}
		for {
			message, err := stream.Recv()
			if err != nil {
				return broken(err, request)
			}
			// Until the initial entries have all come there is nothing to go on from.
			if !request.Initial || message.CaughtUp {
				request.Initial = false
				request.AfterRevision = proto.Int64(message.Revision)
			}
			if ended = each(message); ended != nil {
				return nil
			}
		}
	})
	if err == nil {
		err = ended
	}
	return err
}

// broken returns an error that Retry goes on after, if the watch can.
func broken(err error, request *pb.WatchRequest) error {
	if err == io.EOF {
		err = status.Error(codes.Unavailable, "the server ended the watch")
	}
	if request.Initial {
		return fmt.Errorf("the watch broke among the initial entries: %w", err)
	}
	return err
}
