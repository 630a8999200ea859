// Asks for weight tiles while slots are free, and for pieces of X while their
// half of the buffer is; counts what has arrived.
module lsp_fetch #(
    parameter int NUM = 24
) (
    input  logic           clk,
    input  logic           rst,
    input  logic [NUM-1:0] slots,
    input  logic [NUM-1:0] tiles,
    output logic           tile_request,
    input  logic           tile_accept,
    input  logic           tile_arrive,
    input  logic           slot_freed,
    input  logic [NUM-1:0] slots_freed,
    output logic [NUM-1:0] tiles_arrived,
    input  logic           piece_valid,
    input  logic [NUM-1:0] piece_after,
    output logic           piece_request,
    input  logic           piece_arrive,
    output logic [NUM-1:0] pieces_arrived,
    input  logic           visit_consumed
);
    logic [NUM-1:0] used, asked, consumed;

    assign tile_request = asked != tiles && used < slots;
    assign piece_request = piece_valid && consumed >= piece_after;

    always_ff @(posedge clk) begin
        if (rst) begin
            used <= '0;
            asked <= '0;
            consumed <= '0;
            tiles_arrived <= '0;
            pieces_arrived <= '0;
        end else begin
            used <= used + NUM'(tile_accept) - (slot_freed ? slots_freed : '0);
            asked <= asked + NUM'(tile_accept);
            consumed <= consumed + NUM'(visit_consumed);
            tiles_arrived <= tiles_arrived + NUM'(tile_arrive);
            pieces_arrived <= pieces_arrived + NUM'(piece_arrive);
        end
    end
endmodule
